import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';

/** Starts `host-child.ts`; resolves once it serves. */
export async function startChild(directory: string, socketPath: string, setting = ''): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, 'host-child.ts'), [directory, socketPath, setting]);
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
