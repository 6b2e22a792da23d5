import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { lockDataDir } from './data-dir-lock.ts';

async function makeDataDir(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'tenantry-lock-'));
  onTestFinished(() => rm(root, { recursive: true }));
  return join(root, 'data');
}

/** Another process that tries to take the lock, says how that went, and has a child that outlives it. */
async function contender(dataDir: string) {
  const program = `
    import { lockDataDir } from '${import.meta.dirname}/data-dir-lock.ts';
    import { spawn } from 'node:child_process';
    globalThis.lock = await lockDataDir(process.argv[1], 'start').catch((error) => console.log(error.message));
    if (globalThis.lock) {
      spawn('sleep', ['5'], { detached: true, stdio: 'ignore' });
      console.log('held');
    }
    setTimeout(() => undefined, 60_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, dataDir]);
  onTestFinished(() => void child.kill('SIGKILL'));
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return { said: said.toString().trim(), pid: child.pid, kill };
}

test('a disk too full for the pid does not keep it from starting', async () => {
  const dataDir = await makeDataDir();
  await mkdir(join(dataDir, 'running.pid'), { recursive: true });
  using _lock = await lockDataDir(dataDir, 'start');
  expect((await contender(dataDir)).said).toBe(
    `Cannot start: Tenantry runs already on ${dataDir}. Stop that first, or use another data directory`,
  );
});

test('a lock that nobody who is told of holds', async () => {
  const dataDir = await makeDataDir();
  const gone = await contender(dataDir);
  await gone.kill();
  using _lock = await lockDataDir(dataDir, 'start');
  await writeFile(join(dataDir, 'running.pid'), String(gone.pid));
  expect((await contender(dataDir)).said).toMatch(
    new RegExp(`is locked, but not by process ${gone.pid}, .* filesystem may have no locks`),
  );
});

test('of many that come at once exactly one gets the lock, and a kill gives it back', async () => {
  const dataDir = await makeDataDir();
  for (let round = 0; round < 2; round++) {
    const all = await Promise.all(Array.from({ length: 6 }, () => contender(dataDir)));
    expect(all.filter(({ said }) => said === 'held')).toHaveLength(1);
    const holder = all.find(({ said }) => said === 'held');
    const next = await contender(dataDir);
    expect(next.said).toBe(
      `Cannot start: Tenantry runs already on ${dataDir} (pid ${holder?.pid}). Stop that first, or use another data directory`,
    );
    for (const { kill } of [...all, next]) await kill();
    using lock = await lockDataDir(dataDir, 'start');
    await expect(lockDataDir(dataDir, 'grow')).rejects.toThrow(`Cannot grow: Tenantry runs already on ${dataDir} (pid`);
    expect((await contender(dataDir)).said).toContain(`(pid ${process.pid})`);
    lock.release();
  }
  expect(await readdir(dataDir)).toEqual(['running.lock', 'running.pid']);
  expect((await stat(join(dataDir, 'running.lock'))).mode & 0o777).toBe(0o600);
});
