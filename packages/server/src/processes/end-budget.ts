import { STOP_BUDGET } from '../host/stop-budget.ts';

/** What the host does beside its computes: calls under way get their answer, the pool is unmounted. */
const BESIDE_COMPUTES_MS = 13_000;

/** How long one of our processes may take for an orderly end, before it gives up by itself and says so. */
export const END_MAX_MS = STOP_BUDGET.giveUpAfterMs + BESIDE_COMPUTES_MS;

/** How long the supervisor waits for that, before it kills the process. */
export const KILL_AFTER_MS = END_MAX_MS + 5_000;

/** The same for a gateway, which ends before the host begins to: it owns nothing that must end in order. */
export const KILL_GATEWAY_AFTER_MS = 10_000;
