import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { lockDataDir } from '@tenantry/server/config/data-dir-lock.ts';
import { createLog } from '@tenantry/server/kernel/log.ts';
import { createPool } from '@tenantry/server/storage/open-backend.ts';
import { closeStorage, findPool } from '@tenantry/server/storage/pool.ts';
import { growStorage, readStorageSpace } from '@tenantry/server/storage/space.ts';
import { formatSize, parseSize } from '../byte-size.ts';
import type { ReportedVolume, StorageReport, StorageSpace } from '../storage-report.ts';
import type { Target } from '../target.ts';

const USAGE =
  'say tenantry storage [--project PROJECT_ID], tenantry storage create [--size SIZE], or tenantry storage grow [--size SIZE]';

const isRoot = process.getuid?.() === 0;

const log = createLog('storage', 'fatal');

interface StorageFlags {
  readonly size: string | undefined;
  readonly project: string | undefined;
}

/** `tenantry storage`: what there is, and what takes it; `create` and `grow` its pool. */
export async function storage(
  target: Target,
  [verb, ...rest]: readonly string[],
  { size, project }: StorageFlags,
): Promise<void> {
  const bytes = size === undefined ? null : parseSize(size);
  if (verb === undefined && size === undefined) return await show(target, project);
  if (rest.length > 0 || project !== undefined) throw new Error(`Cannot tell what to do: ${USAGE}`);
  if (verb === 'create') return await create(target, bytes);
  if (verb === 'grow') return await grow(target, bytes);
  throw new Error(`Cannot tell what to do: ${USAGE}`);
}

async function show(target: Target, project: string | undefined): Promise<void> {
  const query = project === undefined ? '' : `?project_id=${encodeURIComponent(project)}`;
  const found = (await target.call('GET', `/status/storage${query}`)) as StorageReport;
  if (target.json) {
    console.log(JSON.stringify(found, null, 2));
    return;
  }
  const { storage: backend, space, volumes, volumes_count: count } = found;
  console.log(`Storage ${backend.backend} at ${backend.location}`);
  printSpace(space);
  if (backend.advice) console.log(`  advice      ${backend.advice}`);
  printVolumes(volumes);
  if (count > volumes.length) {
    console.log(`\nThe ${volumes.length} largest of ${count} volumes. For all of one project: --project PROJECT_ID`);
  }
}

function printSpace({ totalBytes, freeBytes, diskFreeBytes, pool }: StorageSpace): void {
  const used = formatSize(totalBytes - freeBytes);
  const free = formatSize(freeBytes);
  console.log(`  ${pool ? 'pool      ' : 'filesystem'}  ${formatSize(totalBytes)}, used ${used}, free ${free}`);
  if (!pool) return;
  console.log(`  disk        free ${formatSize(diskFreeBytes)}, ${formatSize(pool.allocatedBytes)} taken by the pool`);
  const bound = pool.bytesMax === null ? 'as its disk has room' : `up to ${formatSize(pool.bytesMax)}`;
  console.log(`  grows       by itself, ${bound}; tenantry storage grow [--size SIZE] changes that`);
}

const KINDS = { branch: '', deleted_branch: 'deleted', snapshot: 'snapshot', replica: 'read replica' } as const;
const COLUMNS = ['logical', 'exclusive', 'shared', 'history'] as const;

function printVolumes(volumes: readonly ReportedVolume[]): void {
  const size = (bytes: number | null): string => (bytes === null ? '-' : formatSize(bytes)).padStart(10);
  console.log(`\n${''.padEnd(48)}${COLUMNS.map((name) => name.padStart(10)).join('')}`);
  for (const [projectId, ofProject] of Map.groupBy(volumes, (volume) => volume.project_id)) {
    console.log(`${projectId} (${ofProject[0]?.project_name ?? ''})`);
    for (const volume of ofProject) {
      const { logical_bytes, exclusive_bytes, shared_bytes, history_bytes } = volume;
      const label = [volume.id, volume.name && `(${volume.name})`, KINDS[volume.kind]].filter(Boolean).join(' ');
      console.log(
        `  ${label.padEnd(46)}${[logical_bytes, exclusive_bytes, shared_bytes, history_bytes].map(size).join('')}`,
      );
    }
  }
}

async function create(target: Target, size: number | null): Promise<void> {
  if (isRunning(target)) {
    throw new Error(
      'Cannot create a pool while Tenantry runs: its storage is in use. Where it is a pool: tenantry storage grow',
    );
  }
  using _lock = await lockDataDir(target.dataDir, 'create a pool');
  const hostDir = hostDirOf(target);
  await mkdir(hostDir, { recursive: true, mode: 0o711 });
  // mkdir's mode goes through the umask, and tenants' users must pass.
  await chmod(hostDir, 0o711);
  await createPool({ hostDir, isRoot, bytesMax: size, log });
  try {
    report(target, 'Created the pool', await readStorageSpace(hostDir), size);
  } finally {
    await closeStorage(hostDir);
  }
}

async function grow(target: Target, size: number | null): Promise<void> {
  if (isRunning(target)) {
    const query = size === null ? '' : `?bytes_max=${size}`;
    const space = (await target.call('POST', `/status/storage/grow${query}`)) as StorageSpace;
    return report(target, 'Grown', space, size);
  }
  const hostDir = hostDirOf(target);
  if (!(await findPool(hostDir))) {
    throw new Error(`Cannot grow: there is no pool in ${hostDir}. To make one: tenantry storage create [--size SIZE]`);
  }
  if (!isRoot) throw new Error('Cannot grow: a pool can be mounted by root alone');
  using _lock = await lockDataDir(target.dataDir, 'grow the pool');
  try {
    report(target, 'Grown', await growStorage(hostDir, size, log), size);
  } finally {
    await closeStorage(hostDir);
  }
}

function report(target: Target, done: string, space: StorageSpace, size: number | null): void {
  if (target.json) {
    console.log(JSON.stringify(space, null, 2));
    return;
  }
  console.log(`${done}.`);
  printSpace(space);
  if (size !== null && space.totalBytes < size * 0.95) {
    console.log(`  note        the disk has no room for ${formatSize(size)} now; the pool grows when it has`);
  }
}

const hostDirOf = ({ dataDir }: Target): string => join(dataDir, 'host');

function isRunning(target: Target): boolean {
  try {
    target.supervisorPid();
    return true;
  } catch {
    return false;
  }
}
