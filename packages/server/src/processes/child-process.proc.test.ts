import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { ManagedProcess } from './child-process.ts';

const KILL_MS = 2_000;

/** A process that says that it is ready, and does `atEnd` when it is told to end. */
async function processThat(atEnd: string): Promise<ManagedProcess> {
  const directory = await mkdtemp(join(tmpdir(), 'tenantry-child-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const modulePath = join(directory, 'child.mjs');
  await writeFile(modulePath, `process.on('message', () => { ${atEnd} });\nprocess.send({ kind: 'ready' });\n`);
  return new ManagedProcess({
    name: 'host',
    modulePath,
    args: [],
    env: process.env,
    log: pino({ level: 'silent' }),
    killAfterMs: KILL_MS,
    logTo: () => undefined,
    onChange: () => undefined,
  });
}

test.each([
  ['process.exit(0)', undefined],
  ['process.exit(3)', 'the host process did not end in good order: exit code 3'],
  ['void 0', 'the host process did not end in good order: SIGKILL'],
  ["process.kill(process.pid, 'SIGKILL')", 'the host process did not end in good order: SIGKILL'],
  [
    "process.send({ kind: 'fatal', message: 'Cannot stop all' }, () => process.exit(1))",
    'the host process did not end in good order: Cannot stop all',
  ],
])('of an end by %s the supervisor is told: %s', async (atEnd, told) => {
  const child = await processThat(atEnd);
  await child.start();
  expect(await child.end('stop')).toBe(told);
});

test('one that died just before, and so ended nothing of what it owns, has not ended in good order', async () => {
  const child = await processThat('process.exit(1)');
  await child.start();
  process.kill(child.pid ?? 0, 'SIGKILL');
  await expect.poll(() => child.pid, { interval: 1 }).toBeNull();
  expect(await child.end('stop')).toBe('the host process did not run, so it could not end its part');
});
