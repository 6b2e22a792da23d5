import { spawn } from 'node:child_process';
import { PlatformError } from '../kernel/errors.ts';
import { beOrdinary } from '../kernel/priority.ts';

export interface RunOptions {
  readonly deadlineMs: number;
  /** Written to standard input, which is then closed. */
  readonly input?: string;
  /** The whole environment. Left out: inherited. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** User to run as (root only); its supplementary groups are dropped. */
  readonly runAs?: { readonly uid: number; readonly gid: number } | null;
  /** Words that may not appear in an error. */
  readonly secrets?: readonly string[];
  /** A client waits for it: it goes as soon as we do, and not as what tenants run. */
  readonly isUrgent?: boolean;
  /** Gets standard error line by line while the program runs. */
  readonly onProgress?: (line: string) => void;
}

/** A program that could not be started, or that failed. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
  /** ENOENT if there is no such program, ENOSPC if it said that a disk is full. */
  readonly code: string | undefined;
  readonly stderr: string;

  constructor(message: string, { code, stderr, cause }: { code?: string; stderr: string; cause?: unknown }) {
    super(message, { cause });
    this.code = code;
    this.stderr = stderr;
  }
}

/** Enough for a list of 100,000 datasets. */
const OUTPUT_MAX_CHARS = 16 * 1024 ** 2;

/**
 * Runs a program to its end and gives its standard output. It is killed at its deadline.
 * @throws ProgramError with the last words of its standard error; PlatformError DEADLINE_EXCEEDED
 */
export async function runProgram(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { deadlineMs, input, env, cwd, runAs, isUrgent = false, onProgress } = options;
  const name = program.slice(program.lastIndexOf('/') + 1);
  const child = spawn(program, args, { stdio: 'pipe', ...(env && { env }), ...(cwd && { cwd }), ...runAs });
  if (!isUrgent && child.pid !== undefined) beOrdinary(child.pid);
  let stdout = '';
  let stderr = '';
  let isLate = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout = (stdout + text).slice(-OUTPUT_MAX_CHARS)));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-OUTPUT_MAX_CHARS);
    if (onProgress) for (const line of text.split('\n')) if (line.trim()) onProgress(line);
  });
  // A program that ends before it has read its input gives EPIPE here; its exit status says why.
  child.stdin.on('error', () => {}).end(input ?? '');
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGKILL');
  }, deadlineMs);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  child.on('error', (cause: NodeJS.ErrnoException) =>
    reject(
      new ProgramError(`Cannot run ${name}: ${cause.message}`, {
        ...(cause.code && { code: cause.code }),
        stderr,
        cause,
      }),
    ),
  );
  child.on('close', (status, signal) => {
    if (status === 0) return resolve(stdout);
    if (isLate) {
      return reject(new PlatformError('DEADLINE_EXCEEDED', `Cannot run ${name}: not done within ${deadlineMs} ms`));
    }
    const words = hide(lastLines(stderr || stdout), options.secrets ?? []);
    const isFull = /no space left on device|disk quota exceeded/i.test(stderr);
    reject(
      new ProgramError(`Cannot run ${name}: ${words || `ended with ${signal ?? `status ${status}`}`}`, {
        ...(isFull && { code: 'ENOSPC' }),
        stderr: hide(stderr, options.secrets ?? []),
      }),
    );
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-4).join(' / ').slice(-600);
}

function hide(text: string, secrets: readonly string[]): string {
  return secrets.reduce((shown, secret) => shown.replaceAll(secret, '[secret]'), text);
}
