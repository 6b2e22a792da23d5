import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Client } from 'pg';
import { run } from '../support/run.ts';
import type { RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Tables whose rows belong to a project, and the one of what the host must still remove. */
const TABLES = [
  'projects',
  'branches',
  'endpoints',
  'roles',
  'databases',
  'snapshots',
  'snapshot_schedules',
  'host_removals',
];

/**
 * Not looked into: templates, what Postgres keeps in its directories, OS users, which are given out only once, and the
 * list of deleted volumes.
 */
const INSIDES = ['*/uids/*', '*/host/deleted-volumes', '*/templates/*', '*/volumes/*/data/*', '*/points/*/*'];

/**
 * What an installation has on the machine: files and directories of the host (templates and the insides of Postgres
 * directories left out), btrfs subvolumes, mounts, computes, cgroups, rows. Taken before and after, the difference is
 * what leaked.
 */
export async function inventory(platform: RunningPlatform): Promise<Set<string>> {
  const hostDir = join(platform.dataDir, 'host');
  const prune = ['(', ...INSIDES.flatMap((path) => ['-o', '-path', path]).slice(1), ')', '-prune', '-o', '-print'];
  const { stdout } = await run('find', [hostDir, platform.runDir, '-maxdepth', '8', ...prune]);
  const groups = await run('find', [
    '/sys/fs/cgroup',
    '-path',
    // Named after the whole path of the run directory.
    `*/tenantry-*${basename(platform.runDir)}/*`,
    '-type',
    'd',
  ]);
  const files = (stdout + groups.stdout).split('\n').filter((path) => path !== '');
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(platform.dataDir) || line.includes(platform.runDir))
    .map((line) => `mount ${line.split(' ')[1]}`);
  const computes = platform.computes().map((p) => `process ${p.pid} on ${p.dataPath}`);
  return new Set([...files, ...mounts, ...computes, ...(await subvolumes(mounts)), ...(await rows(platform))]);
}

/** Waits until nothing is there that was not there before. @throws Error that names what is */
export async function expectNothingLeft(platform: RunningPlatform, before: ReadonlySet<string>): Promise<void> {
  await waitUntil(
    'nothing left of deleted projects and branches',
    async () => {
      const left = [...(await inventory(platform))].filter((name) => !before.has(name));
      if (left.length > 0) throw new Error(`${left.length} left:\n${left.slice(0, 40).join('\n')}`);
      return true;
    },
    30_000,
  );
}

async function subvolumes(mounts: readonly string[]): Promise<string[]> {
  const lists = mounts.map(async (mount) => {
    const { code, stdout } = await run('btrfs', ['subvolume', 'list', mount.slice('mount '.length)]).catch(() => ({
      code: 1,
      stdout: '',
    }));
    return code === 0
      ? stdout
          .split('\n')
          .filter((line) => line !== '' && !line.includes('templates/'))
          .map((line) => `subvolume ${line.replace(/^.* path /, '')}`)
      : [];
  });
  return (await Promise.all(lists)).flat();
}

/** Rows of projects, one name each, and operations that have not ended. */
async function rows(platform: RunningPlatform): Promise<string[]> {
  const client = new Client({
    host: join(platform.runDir, 'metadata'),
    user: 'tenantry',
    database: 'postgres',
    password: readFileSync(join(platform.dataDir, 'secrets', 'metadata-password'), 'utf8').trim(),
  });
  client.on('error', () => {});
  await client.connect();
  try {
    const { rows: unended } = await client.query<{ id: string; action: string; status: string }>(
      'SELECT id, action, status FROM operations WHERE ended_at IS NULL',
    );
    const counts = unended.map(({ id, action, status }) => `operation ${id} (${action}), ${status}`);
    for (const table of TABLES) {
      const { rows: found } = await client.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`);
      // One name a row: what was still being deleted before may be gone after.
      for (let row = 1; row <= (found[0]?.n ?? 0); row++) counts.push(`row ${row} of ${table}`);
    }
    return counts;
  } finally {
    await client.end();
  }
}
