import { spawn } from 'node:child_process';

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  readonly timeoutMs?: number;
  /** Run as this bare OS user and group. */
  readonly uid?: number;
}

export interface RunResult {
  /** Null if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its exit code. @throws Error if it cannot be spawned or overruns its time. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { env, cwd, input = '', timeoutMs = 60_000, uid } = options;
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: 'pipe',
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const { promise, resolve, reject } = Promise.withResolvers<RunResult>();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => {}); // a program may end without reading its input
  child.stdin.end(input);
  const timer = setTimeout(() => {
    child.kill('SIGKILL');
    reject(new Error(`${command} did not end within ${timeoutMs} ms\n${stdout.slice(-2000)}\n${stderr.slice(-2000)}`));
  }, timeoutMs);
  child.on('error', reject);
  child.on('close', (code) => resolve({ code, stdout, stderr }));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a program that must succeed, and gives its standard output. @throws Error with all that it said */
export async function runOk(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}\n${stdout}\n${stderr}`);
  return stdout;
}
