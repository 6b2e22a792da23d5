import { unreachable } from '../../kernel/assert.ts';
import { badField, checkInteger } from '../checks.ts';
import type { SnapshotScheduleItem } from '../platform.ts';

type Frequency = SnapshotScheduleItem['frequency'];
type When = 'hour' | 'day' | 'month';

const FIELDS: Readonly<Record<Frequency, readonly When[]>> = {
  hourly: [],
  daily: ['hour'],
  weekly: ['hour', 'day'],
  monthly: ['hour', 'day'],
  yearly: ['hour', 'day', 'month'],
};
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const WEEK_DAYS = 7;
const ITEMS_MAX = 20;
const RETENTION_SECONDS_MIN = 3600;
const RETENTION_SECONDS_MAX = 315_360_000;

/** @throws PlatformError INVALID_REQUEST */
export function checkSchedule(items: readonly SnapshotScheduleItem[]): readonly SnapshotScheduleItem[] {
  if (items.length > ITEMS_MAX) throw badField('schedule', `at most ${ITEMS_MAX} items`);
  items.forEach((item, i) => checkItem(item, `schedule.${i}`));
  return items;
}

function checkItem(item: SnapshotScheduleItem, field: string): void {
  const { frequency, hour, day, month, retentionSeconds } = item;
  for (const name of ['hour', 'day', 'month'] as const) {
    if (item[name] !== undefined && !FIELDS[frequency].includes(name)) {
      throw badField(`${field}.${name}`, `nothing where the frequency is ${frequency}`);
    }
  }
  if (hour !== undefined) checkInteger(`${field}.hour`, hour, 0, 23);
  if (day !== undefined) checkInteger(`${field}.day`, day, 1, frequency === 'weekly' ? WEEK_DAYS : 31);
  if (month !== undefined) checkInteger(`${field}.month`, month, 1, 12);
  if (retentionSeconds !== undefined) {
    checkInteger(`${field}.retention_seconds`, retentionSeconds, RETENTION_SECONDS_MIN, RETENTION_SECONDS_MAX);
  }
}

/**
 * The first time after `after` that an item means, in UTC. What is left out is hour 0, day 1 (of the week: Monday),
 * month 1. A day that a month does not have is its last one.
 */
export function nextRunAt({ frequency, hour = 0, day = 1, month = 1 }: SnapshotScheduleItem, after: Date): Date {
  const [year, monthIndex] = [after.getUTCFullYear(), after.getUTCMonth()];
  const midnightMs = Date.UTC(year, monthIndex, after.getUTCDate());
  switch (frequency) {
    case 'hourly':
      return new Date(midnightMs + (after.getUTCHours() + 1) * HOUR_MS);
    case 'daily':
      return firstAfter(after, (n) => midnightMs + n * DAY_MS + hour * HOUR_MS);
    case 'weekly': {
      const sinceMonday = (after.getUTCDay() + WEEK_DAYS - 1) % WEEK_DAYS;
      const mondayMs = midnightMs - sinceMonday * DAY_MS;
      return firstAfter(after, (n) => mondayMs + (n * WEEK_DAYS + day - 1) * DAY_MS + hour * HOUR_MS);
    }
    case 'monthly':
      return firstAfter(after, (n) => dayOfMonth(year, monthIndex + n, day) + hour * HOUR_MS);
    case 'yearly':
      return firstAfter(after, (n) => dayOfMonth(year + n, month - 1, day) + hour * HOUR_MS);
    default:
      return unreachable(frequency);
  }
}

/** This period's time, or the next one's if that has passed. */
function firstAfter(after: Date, timeOf: (period: number) => number): Date {
  const present = timeOf(0);
  return new Date(present > after.getTime() ? present : timeOf(1));
}

/** Day 0 of the month after is the last one of this. */
function dayOfMonth(year: number, monthIndex: number, day: number): number {
  const daysInMonth = new Date(Date.UTC(year, monthIndex + 1, 0)).getUTCDate();
  return Date.UTC(year, monthIndex, Math.min(day, daysInMonth));
}
