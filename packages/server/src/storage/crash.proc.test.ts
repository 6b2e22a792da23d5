import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '../kernel/log.ts';
import { Secret } from '../kernel/secret.ts';
import { createVolumeStore } from './local-volume-store.ts';
import { closeStorage } from './pool.ts';

const isRoot = process.getuid?.() === 0;
const nodeModules = fileURLToPath(new URL('../../../../node_modules', import.meta.url));
const builder = isRoot ? { uid: 71_000, gid: 71_000 } : null;
const log = createLog('test', 'error');
const ROUNDS = 8;

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

/** A process that makes and deletes volumes, four at a time, until it is killed. */
const churn = (hostDir: string, setting: string): string => `
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
  const settings = isRoot && existsSync('/usr/sbin/mkfs.btrfs') ? (['btrfs', 'copy'] as const) : (['copy'] as const);
  it.each(settings)('leaves each volume whole or gone, and nothing else (%s)', async (setting) => {
    const hostDir = join(base, `host-${setting}`);
    const root = setting === 'btrfs' ? join(hostDir, 'pool') : hostDir;
    let seen = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const script = churn(hostDir, setting);
      const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(child, 'exit');
      // The first dies while it makes the template, the others after some volumes.
      await linesOf(child.stdout, round === 0 ? 1 : randomInt(2, 16));
      await delay(randomInt(0, round === 0 ? 500 : 60));
      child.kill('SIGKILL');
      await exited;

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
