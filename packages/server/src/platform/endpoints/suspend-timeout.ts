import { badField } from '../checks.ts';

/** What 0 means where the project says nothing else. */
const DEFAULT_SECONDS = 300;
const MAX_SECONDS = 604_800;

/** @throws PlatformError INVALID_REQUEST */
export function checkSuspendTimeout(seconds: number, minSeconds: number, field: string): number {
  const isTimeout = Number.isInteger(seconds) && seconds >= minSeconds && seconds <= MAX_SECONDS;
  if (seconds === 0 || seconds === -1 || isTimeout) return seconds;
  throw badField(field, `0 (default), -1 (never) or ${minSeconds} to ${MAX_SECONDS} seconds`);
}

/** Seconds, or -1 for never: the endpoint's own, else the project's default, else the platform's. */
export const resolveSuspendTimeout = (ofEndpoint: number, ofProject: number | undefined): number =>
  ofEndpoint || ofProject || DEFAULT_SECONDS;
