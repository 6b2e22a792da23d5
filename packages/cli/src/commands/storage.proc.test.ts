import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StorageSpace } from '../storage-report.ts';

const MAIN = join(import.meta.dirname, '../main.ts');
const isRoot = process.getuid?.() === 0;
const canPool =
  isRoot &&
  ['/usr/sbin/mkfs.ext4', '/usr/sbin/mkfs.btrfs'].every((path) => existsSync(path)) &&
  /btrfs/.test(readFileSync('/proc/filesystems', 'utf8'));
const MB = 1_000_000;

let disk = '';

/** `tenantry` on a data directory of the test's disk. */
function tenantry(dataDir: string, ...args: readonly string[]): { status: number | null; out: string; words: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, '--data-dir', join(disk, dataDir), ...args], {
    encoding: 'utf8',
  });
  return { status, out: stdout, words: stderr };
}

const spaceOf = (out: string): StorageSpace => JSON.parse(out) as StorageSpace;

beforeAll(async () => {
  disk = await mkdtemp('/tmp/tenantry-cli-storage-');
  if (!canPool) return;
  await writeFile(`${disk}.img`, '');
  await truncate(`${disk}.img`, 2000 * MB);
  execFileSync('mkfs.ext4', ['-q', `${disk}.img`]);
  execFileSync('mount', ['-o', 'loop', `${disk}.img`, disk]);
});

afterAll(async () => {
  if (canPool) execFileSync('umount', [disk]);
  await rm(`${disk}.img`, { force: true });
  await rm(disk, { recursive: true, force: true });
});

it.each([
  [['storage'], /^Tenantry does not run on .*: start it with \.\/start/],
  [['storage', 'shrink'], /^Cannot tell what to do: say tenantry storage/],
  [['storage', '--size', '1GB'], /^Cannot tell what to do/],
  [['storage', 'grow', 'more'], /^Cannot tell what to do/],
  [['storage', 'create', '--size', 'much'], /^Cannot read the size "much": give a number and MB, GB or TB/],
  [['storage', 'grow'], /^Cannot grow: there is no pool in .*To make one: tenantry storage create/],
])('tenantry %j says what to do', (args, words) => {
  const { status, out, words: said } = tenantry('none', ...args);
  expect([status, out]).toEqual([1, '']);
  expect(said).toMatch(words);
});

describe.runIf(canPool)('the pool of a platform that does not run', () => {
  it('is made with a bound, grown to another, and then to all that the disk has', async () => {
    const created = tenantry('a', 'storage', 'create', '--size', '500MB', '--json');
    expect(spaceOf(created.out)).toMatchObject({ pool: { filesystem: 'btrfs', bytesMax: 500 * MB } });
    // It begins smaller than it may become, and all of it is taken from the disk.
    const { totalBytes } = spaceOf(created.out);
    expect(totalBytes).toBeGreaterThan(320 * MB);
    expect(totalBytes).toBeLessThanOrEqual(500 * MB);
    expect(statSync(join(disk, 'a/host/pool.img')).blocks * 512).toBeGreaterThanOrEqual(totalBytes);
    expect(await readdir(join(disk, 'a/host/pool'))).toEqual([]);

    expect(tenantry('a', 'storage', 'create').words).toMatch(/^Cannot create a pool: there is one in/);
    expect(tenantry('a', 'storage', 'grow', '--size', '400MB').words).toMatch(/has \d+ already, and does not shrink/);
    const grown = spaceOf(tenantry('a', 'storage', 'grow', '--size', '800MB', '--json').out);
    expect(grown.totalBytes).toBeGreaterThan(790 * MB);
    expect(grown.totalBytes).toBeLessThanOrEqual(800 * MB);
    const all = spaceOf(tenantry('a', 'storage', 'grow', '--json').out);
    expect(all.pool).toMatchObject({ bytesMax: null });
    expect(all.totalBytes).toBeGreaterThan(1500 * MB);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(`${disk}/a`);
  });

  it('says so when the disk has less than it was told', async () => {
    await rm(join(disk, 'a'), { recursive: true, force: true });
    const { status, out } = tenantry('b', 'storage', 'create', '--size', '9TB');
    expect(status).toBe(0);
    expect(out).toMatch(/note +the disk has no room for 9\.00 TB now; the pool grows when it has/);
  });

  it('is refused below its least size, and where volumes are stored otherwise', async () => {
    expect(tenantry('c', 'storage', 'create', '--size', '10MB').words).toMatch(/it takes 320 MB at least/);
    await mkdir(join(disk, 'c/host/volumes/br-there'), { recursive: true });
    await writeFile(join(disk, 'c/host/storage.json'), '{"format":1,"layout":"copy"}');
    expect(tenantry('c', 'storage', 'create').words).toMatch(/volumes are stored by copy already/);
    expect(await readdir(join(disk, 'c/host'))).not.toContain('pool.img');
  });
});
