import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { bringBack } from '../branches/bring-back.ts';
import { checkMoment, checkReady } from '../branches/branch-checks.ts';
import { findBranchVolumeId } from '../branches/branch-rows.ts';
import { freeName } from '../branches/free-name.ts';
import { getBranchRow } from '../branches/get-branch.ts';
import { badField, checkName, notFound, printable } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { assertRoom } from '../hosts/assert-room.ts';
import type { Principal, SnapshotChange, Snapshots } from '../platform.ts';
import { lockProject } from '../projects/project-rows.ts';
import { getSnapshotRow } from './get-snapshot.ts';
import { countManualSnapshots, hasSnapshotName, toSnapshot } from './snapshot-rows.ts';
import { orderSnapshot } from './take-snapshot.ts';

/** Those of schedules do not count. */
const MANUAL_SNAPSHOTS_MAX = 100;

/**
 * A snapshot of a branch, any branch, at a moment or now.
 * @throws PlatformError NOT_FOUND, INVALID_REQUEST, MOMENT_OUT_OF_HISTORY, ALREADY_EXISTS, SNAPSHOTS_LIMIT_EXCEEDED,
 *   PROJECT_LOCKED
 */
export async function createSnapshot(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  input: Parameters<Snapshots['create']>[3],
): Promise<SnapshotChange> {
  const branch = await bringBack(context, await getBranchRow(context, principal, projectId, branchId));
  const now = context.now();
  const at = checkMoment(input.at ?? {}, now, '');
  const expiresAt = input.expiresAt === undefined ? null : checkSnapshotExpiration('expires_at', input.expiresAt, now);
  if (input.name !== undefined) checkName('name', input.name);
  checkReady(branch, 'take a snapshot');
  await context.host.findMoment(must(await findBranchVolumeId(context.metadata, branch.id)), at);
  await assertRoom(context);
  const { value: id, operations } = await runCommand(context, async (command) => {
    const { tx } = command;
    if (!(await lockProject(tx, projectId))) throw notFound('project', projectId);
    if ((await countManualSnapshots(tx, projectId)) >= MANUAL_SNAPSHOTS_MAX) {
      throw new PlatformError(
        'SNAPSHOTS_LIMIT_EXCEEDED',
        `Cannot take a snapshot: the project has ${MANUAL_SNAPSHOTS_MAX}, as many as it may have. Delete some first`,
      );
    }
    const name = input.name ?? (await freeSnapshotName(tx, projectId, `${branch.name} ${toSeconds(now)}`));
    await checkSnapshotName(tx, projectId, name, 'name');
    return orderSnapshot(command, { projectId, branchId: branch.id, name, at, isManual: true, expiresAt });
  });
  return { snapshot: toSnapshot(await getSnapshotRow(context, principal, projectId, id)), operations };
}

/** @throws PlatformError ALREADY_EXISTS */
export async function checkSnapshotName(
  tx: Command['tx'],
  projectId: string,
  name: string,
  field: string,
): Promise<void> {
  if (!(await hasSnapshotName(tx, projectId, name))) return;
  throw new PlatformError('ALREADY_EXISTS', `Cannot accept ${field}: a snapshot ${printable(name)} exists already`);
}

/** @throws PlatformError INVALID_REQUEST */
export function checkSnapshotExpiration(field: string, expiresAt: Date, now: Date): Date {
  if (expiresAt.getTime() > now.getTime()) return expiresAt;
  throw badField(field, 'a time in the future');
}

/** The project must be locked. */
export const freeSnapshotName = (tx: Command['tx'], projectId: string, wanted: string): Promise<string> =>
  freeName(wanted, (name) => hasSnapshotName(tx, projectId, name));

/** RFC 3339 without fractions. */
export const toSeconds = (time: Date): string => time.toISOString().replace(/\.\d{3}Z$/, 'Z');
