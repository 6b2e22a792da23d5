import { closeSync, copyFileSync, openSync, readSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';

const LOG_BYTES_MAX = 4 * 1024 ** 2;
const TAIL_BYTES = 8192;
const REASON_LENGTH_MAX = 300;

/** Where the Postgres of an endpoint writes. */
export const computeLogPath = (logsDir: string, endpointId: string): string => join(logsDir, `${endpointId}.log`);

/** Size of a log in bytes; 0 if there is none. */
export function logSize(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Keeps a log bounded: a full one becomes `<path>.1`. Postgres appends, so it goes on at the start of the emptied file. */
export function boundLog(path: string): void {
  if (logSize(path) < LOG_BYTES_MAX) return;
  copyFileSync(path, `${path}.1`);
  truncateSync(path, 0);
}

export function removeLog(path: string): void {
  for (const name of [path, `${path}.1`]) rmSync(name, { force: true });
}

/** Why a start failed, for people, from what Postgres wrote behind `start`: its last fatal line, without paths. */
export function failureFromLog(path: string, start: number): string {
  const lines = readTail(path, start).split('\n');
  const reason = lines.findLast((line) => /\b(FATAL|PANIC|ERROR):/.test(line));
  return `Cannot start the compute: ${reason ? toPublicReason(reason) : 'Postgres ended before it was ready'}`;
}

/** The message of a log line: no prefix, no paths, bounded. */
export function toPublicReason(line: string): string {
  return line
    .replace(/^.*?\b(FATAL|PANIC|ERROR|LOG):\s*/, '')
    .replaceAll(/"?\/[^\s":,;]+"?/g, '(path)')
    .slice(0, REASON_LENGTH_MAX);
}

function readTail(path: string, start: number): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return '';
  }
  try {
    const size = logSize(path);
    const from = Math.max(Math.min(start, size), size - TAIL_BYTES);
    const buffer = Buffer.alloc(size - from);
    return buffer.toString('utf8', 0, readSync(file, buffer, 0, buffer.length, from));
  } finally {
    closeSync(file);
  }
}
