import type { Transaction } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';
import type { PlatformDeps } from '../context.ts';
import { stampDirectory } from '../directory/directory-rows.ts';

/** One transaction of the domain. */
export interface Work {
  readonly tx: Transaction<Tables>;
  /** What gateways must know of these endpoints changes with this transaction. */
  readonly changeDirectory: (endpointIds: readonly string[]) => void;
}

/**
 * Runs the work in one transaction, and gives its result once the gateways know what it changed in the directory.
 * @param onCommit called between the two
 */
export async function transact<T>(
  { metadata, directory }: Pick<PlatformDeps, 'metadata' | 'directory'>,
  work: (work: Work) => Promise<T>,
  onCommit?: () => void,
): Promise<T> {
  const { result, seq } = await metadata.transaction().execute(async (tx) => {
    const changed = new Set<string>();
    const changeDirectory = (endpointIds: readonly string[]): void => endpointIds.forEach((id) => changed.add(id));
    const result = await work({ tx, changeDirectory });
    return { result, seq: changed.size > 0 ? await stampDirectory(tx, [...changed]) : undefined };
  });
  onCommit?.();
  if (seq !== undefined) await directory.publish(seq);
  return result;
}
