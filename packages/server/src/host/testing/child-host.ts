import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';

const running = new Set<ChildProcess>();

/** Starts `host-child.ts`; resolves once it serves. */
export async function startChild(directory: string, socketPath: string, setting = ''): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, 'host-child.ts'), [directory, socketPath, setting]);
  running.add(child);
  child.once('exit', () => running.delete(child));
  await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', () => reject(new Error('the host did not start')));
  });
  return child;
}

export async function killChild(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** Ends those that a test which failed has left: they hold the test runner's output, and it would wait for them for ever. */
export async function killChildren(): Promise<void> {
  for (const child of running) await killChild(child);
}
