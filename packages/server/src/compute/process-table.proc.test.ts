import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { must } from '../kernel/assert.ts';
import { findProcess, findProcessesByCommand, openProcess } from './process-table.ts';

const LAST_PID = '/proc/sys/kernel/ns_last_pid';
const isLinux = process.platform === 'linux';

test('a child that still bears the command line of its parent is not taken for it', async () => {
  const mark = `tenantry-mark-${process.pid}`;
  // A subshell is a fork without exec.
  const script = `: ${mark}; (echo forked; read line; :); :`;
  const parent = spawn('bash', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(parent.stdout, 'data');
    expect(findProcessesByCommand(mark).map(({ identity }) => identity)).toEqual([findProcess(parent.pid ?? -1)]);
  } finally {
    parent.stdin.end();
    await once(parent, 'exit');
  }
});

test.runIf(isLinux)('an open process is alive until it ends, as a zombie no more', async () => {
  // Its parent never waits for it.
  const parent = spawn('bash', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = await once(parent.stdout, 'data');
    // From its exec on; the shell would.
    await expect.poll(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8')).toBe('sleep\n');
    const identity = must(findProcess(Number(line)));
    const open = openProcess(identity);
    expect(open.isAlive()).toBe(true);
    process.kill(identity.pid, 'SIGKILL');
    await expect.poll(() => open.isAlive()).toBe(false);
    expect(() => process.kill(identity.pid, 0), 'the pid is still taken').not.toThrow();
    open.close();
    expect(openProcess(identity).isAlive(), 'opened after its end').toBe(false);
  } finally {
    parent.kill('SIGKILL');
  }
});

test.runIf(isWritable(LAST_PID))('an open process is not the next one that gets its pid', async () => {
  for (;;) {
    const first = spawn('sleep', ['60']);
    const identity = must(findProcess(must(first.pid)));
    const open = openProcess(identity);
    first.kill('SIGKILL');
    await once(first, 'exit');
    writeFileSync(LAST_PID, String(identity.pid - 1));
    const next = spawn('sleep', ['60']);
    try {
      expect(open.isAlive()).toBe(false);
      open.close();
      // Anybody on this machine may have been faster.
      if (next.pid === identity.pid) return;
    } finally {
      next.kill('SIGKILL');
    }
  }
});

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
