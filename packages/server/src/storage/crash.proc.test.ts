import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngineStore } from '../engines/engine-store.ts';
import { createLog } from '../kernel/log.ts';
import { Secret } from '../kernel/secret.ts';
import { parseLineage } from './history/lineage.ts';
import { createVolumeStore } from './local-volume-store.ts';
import { closeStorage } from './pool.ts';
import { startPostgres } from './testing/running-postgres.ts';

const isRoot = process.getuid?.() === 0;
const nodeModules = fileURLToPath(new URL('../../../../node_modules', import.meta.url));
const builder = isRoot ? { uid: 71_000, gid: 71_000 } : null;
const log = createLog('test', 'error');
const ROUNDS = 4;
const settings = isRoot && existsSync('/usr/sbin/mkfs.btrfs') ? (['btrfs', 'copy'] as const) : (['copy'] as const);

let base = '';
beforeAll(async () => {
  base = await mkdtemp('/tmp/tenantry-crash-');
  await chmod(base, 0o755);
});
afterAll(async () => {
  if (isRoot) for (const name of await readdir(base)) await closeStorage(join(base, name));
  await rm(base, { recursive: true, force: true });
});

const url = (path: string): string => new URL(path, import.meta.url).href;

/** Opens the engine and the store. */
const preamble = (hostDir: string, setting: string): string => `
  import { createEngineStore } from '${url('../engines/engine-store.ts')}';
  import { createVolumeStore } from '${url('./local-volume-store.ts')}';
  import { createLog } from '${url('../kernel/log.ts')}';
  import { Secret } from '${url('../kernel/secret.ts')}';
  const log = createLog('test', 'error');
  const runAs = ${JSON.stringify(builder)};
  const engine = await createEngineStore({
    enginesDir: '${base}/engines', packagesDirs: ['${nodeModules}'], runAs, log,
  }).get(17);
  const store = await createVolumeStore({
    hostDir: '${hostDir}', setting: '${setting}', isRoot: ${isRoot}, engineRunAs: runAs, log,
    adminVerifier: new Secret('SCRAM-SHA-256$4096:AAAA$' + 'A'.repeat(43) + '=:' + 'A'.repeat(43) + '='),
  });
  await store.recover();
  console.log('ready');
`;

/** A process that makes and deletes volumes, four at a time, until it is killed. */
const churn = (hostDir: string, setting: string): string => `
  ${preamble(hostDir, setting)}
  await Promise.all([0, 1, 2, 3].map(async (lane) => {
    for (let n = 0; ; n += 1) {
      const volumeId = 'br-' + lane + '-' + (n % 5);
      await store.create({ volumeId, engine, owner: runAs && { uid: runAs.uid + 1 + lane, gid: runAs.gid + 1 + lane }, historyRetentionSeconds: 60 });
      console.log(volumeId);
      if (n % 3 !== 0) await store.delete(volumeId);
    }
  }));
`;

describe('kill -9 in the midst of making and deleting volumes', () => {
  it.each(settings)('leaves each volume whole or gone, and nothing else (%s)', async (setting) => {
    const hostDir = join(base, `host-${setting}`);
    const root = setting === 'btrfs' ? join(hostDir, 'pool') : hostDir;
    let seen = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      // The first dies while it makes the template, the others after some volumes.
      await killAfter(
        churn(hostDir, setting),
        round === 0 ? 1 : randomInt(2, 16),
        randomInt(0, round === 0 ? 500 : 60),
      );

      const store = await createVolumeStore({
        hostDir,
        setting,
        isRoot,
        engineRunAs: builder,
        adminVerifier: new Secret('unused: no template is made'),
        log,
      });
      await store.recover();
      const volumes = await store.list();
      seen += volumes.length;
      const ids = volumes.map((volume) => volume.volumeId);
      expect(await readdir(join(root, 'volumes'))).toHaveLength(ids.length);
      expect((await readdir(join(hostDir, 'wal'))).sort()).toEqual(ids);
      for (const name of ['staging', 'trash']) expect(await readdir(join(root, name))).toEqual([]);
      const [template] = await readdir(join(root, 'templates'));
      if (template === undefined) {
        expect(ids).toEqual([]);
        continue;
      }
      const whole = (await readdir(join(root, 'templates', template, 'tree/data'), { recursive: true })).length;
      for (const volume of volumes) {
        const inVolume = (await readdir(volume.dataPath, { recursive: true })).filter(
          (name) => !name.startsWith('pg_wal'),
        );
        expect(inVolume).toHaveLength(whole);
        expect((await readdir(volume.walPath)).some((name) => /^[0-9A-F]{24}$/.test(name))).toBe(true);
      }
    }
    expect(seen).toBeGreaterThan(0);
    if (setting === 'btrfs') expect(loopDevicesOf(hostDir)).toBe(1);
  });
});

/** A process that runs, branches, prunes and deletes volumes in four lanes, until it is killed. */
const branchChurn = (hostDir: string, setting: string): string => `
  ${preamble(hostDir, setting)}
  import { startPostgres } from '${url('./testing/running-postgres.ts')}';
  async function run(volumeId) {
    const volume = await store.claim(volumeId);
    const running = await startPostgres({ engine, volume, socketBase: '${base}', password: 'unused' });
    await running.stop();
    store.released(volumeId);
    await store.archive(volumeId);
  }
  await Promise.all([0, 1, 2, 3].map(async (lane) => {
    const owner = runAs && { uid: runAs.uid + 1 + lane, gid: runAs.gid + 1 + lane };
    const common = { owner, historyRetentionSeconds: 0 };
    const parent = 'br-' + lane;
    for (let n = 0; ; n += 1) {
      await store.create({ volumeId: parent, engine, ...common });
      await run(parent);
      await store.makeRestorePoint(parent, undefined);
      const child = parent + '-' + (n % 3);
      await store.delete(child);
      await store.branch({ volumeId: child, sourceId: parent, at: { kind: 'head' }, backup: undefined, ...common });
      console.log(child);
      if (n % 2 === 1) await run(child);
      await store.prune();
      if (n % 4 === 3) await store.delete(parent);
    }
  }));
`;

describe('kill -9 in the midst of branching and pruning', () => {
  it.each(settings)('leaves volumes that open, and nothing else (%s)', async (setting) => {
    const hostDir = join(base, `branches-${setting}`);
    const root = setting === 'btrfs' ? join(hostDir, 'pool') : hostDir;
    const options = { hostDir, setting, isRoot, engineRunAs: builder, log };
    for (let round = 0; round < ROUNDS; round += 1) {
      await killAfter(branchChurn(hostDir, setting), randomInt(1, 10), randomInt(0, 300));
      await endAllIn(hostDir);
      const store = await createVolumeStore({ ...options, adminVerifier: new Secret('unused') });
      await store.recover();
      await store.prune();
      const volumes = await store.list();
      const ids = volumes.map(({ volumeId }) => volumeId);
      for (const directory of ['wal', 'history']) expect((await readdir(join(hostDir, directory))).sort()).toEqual(ids);
      for (const name of ['staging', 'trash']) expect(await readdir(join(root, name))).toEqual([]);
      const referenced = new Set<string>();
      for (const volumeId of ids) {
        const { points } = parseLineage(await readFile(join(hostDir, 'history', volumeId, 'lineage.json'), 'utf8'));
        for (const { place, pointId } of points) if (place === 'points') referenced.add(pointId);
      }
      expect((await readdir(join(root, 'points'))).sort()).toEqual([...referenced].sort());
      // Two of them, for their time's sake: each opens.
      for (const { volumeId } of [volumes[0], volumes.at(-1)].filter((volume) => volume !== undefined)) {
        const volume = await store.claim(volumeId);
        if (!volume) throw new Error('no volume');
        const engines = { enginesDir: join(base, 'engines'), packagesDirs: [nodeModules], runAs: builder, log };
        const engine = await createEngineStore(engines).get(17);
        const running = await startPostgres({ engine, volume, socketBase: base, password: 'unused' });
        await running.stop();
        store.released(volumeId);
      }
    }
  });
});

/** Kills what the killed process had started: Postgres, in the midst of whatever it did. */
async function endAllIn(directory: string): Promise<void> {
  const untilMs = performance.now() + 30_000;
  const uses = (pid: string): boolean => {
    try {
      // The second is a Postgres that was started just now, and has not gone to its directory yet.
      return (
        readlinkSync(`/proc/${pid}/cwd`).startsWith(directory) ||
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(directory)
      );
    } catch {
      return false;
    }
  };
  for (;;) {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && uses(name));
    if (pids.length === 0) return;
    if (performance.now() > untilMs) throw new Error('a process still uses the volumes');
    for (const pid of pids) killIfThere(Number(pid));
    await delay(10);
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has gone by itself.
  }
}

async function killAfter(script: string, lines: number, ms: number): Promise<void> {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  await linesOf(child.stdout, lines);
  await delay(ms);
  child.kill('SIGKILL');
  await exited;
}

/** Resolves after so many lines of output. */
async function linesOf(output: Readable, count: number): Promise<void> {
  let lines = 0;
  for await (const chunk of output.iterator({ destroyOnReturn: false })) {
    lines += String(chunk).split('\n').length - 1;
    if (lines >= count) return;
  }
}

function loopDevicesOf(hostDir: string): number {
  const words = ['--associated', join(hostDir, 'pool.img'), '--noheadings', '--output', 'NAME'];
  return execFileSync('losetup', words, { encoding: 'utf8' }).trim().split('\n').length;
}
