import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { findProcess, findProcessesByCommand } from './process-table.ts';

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
