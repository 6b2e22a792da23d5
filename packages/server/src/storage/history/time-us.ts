/**
 * Microseconds since 1970, as exact as Postgres' own clock: with the milliseconds of a `Date`, a transaction could fall
 * on the wrong side of a time that a client read from Postgres.
 */
export type TimeUs = number;

const FRACTION = /\.(\d{1,9})(?=Z|[+-]|$)/i;

/** From RFC 3339; digits beyond the sixth are cut. Undefined if it is no time. */
export function parseTimeUs(text: string): TimeUs | undefined {
  const wholeMs = Date.parse(text.replace(FRACTION, ''));
  if (Number.isNaN(wholeMs)) return undefined;
  const digits = FRACTION.exec(text)?.[1] ?? '';
  return wholeMs * 1000 + Number(digits.padEnd(6, '0').slice(0, 6));
}

/** RFC 3339 in UTC: `2026-01-31T12:00:00.123456Z`; a fraction only as long as it needs, but no shorter than milliseconds. */
export function formatTimeUs(timeUs: TimeUs): string {
  const us = timeUs % 1000;
  const text = new Date(Math.floor(timeUs / 1000)).toISOString();
  return us === 0 ? text : text.replace('Z', `${String(us).padStart(3, '0')}Z`);
}

export const timeUsOf = (date: Date): TimeUs => date.getTime() * 1000;

/** Later than every commit until now: those have microseconds, of which a `Date` loses three digits. */
export const afterNow = (): Date => new Date(Date.now() + 1);
