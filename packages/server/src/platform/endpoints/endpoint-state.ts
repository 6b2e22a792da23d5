import { unreachable } from '../../kernel/assert.ts';
import type { ComputeState } from '../../host/host.ts';
import type { Endpoint } from '../platform.ts';

type StateView = Pick<Endpoint, 'state' | 'pendingState'>;

/** What clients see of a compute's state. Null: the host has not reported yet. */
export function toStateView(compute: ComputeState | null, startedAt: Date | null): StateView {
  const asleep = startedAt === null ? 'init' : 'idle';
  switch (compute) {
    case null:
    case 'starting':
      return { state: asleep, pendingState: 'active' };
    case 'active':
      return { state: 'active', pendingState: null };
    case 'suspending':
      return { state: 'active', pendingState: 'idle' };
    case 'idle':
    case 'failed':
      return { state: asleep, pendingState: null };
    default:
      return unreachable(compute);
  }
}
