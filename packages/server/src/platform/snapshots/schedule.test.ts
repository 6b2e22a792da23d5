import { expect, test } from 'vitest';
import type { SnapshotScheduleItem } from '../platform.ts';
import { checkSchedule, nextRunAt } from './schedule.ts';

/** item, after, next run */
const TABLE: readonly (readonly [SnapshotScheduleItem, string, string])[] = [
  [{ frequency: 'hourly' }, '2026-03-29T00:59:59.999Z', '2026-03-29T01:00:00Z'],
  [{ frequency: 'hourly' }, '2026-03-29T01:00:00Z', '2026-03-29T02:00:00Z'],
  [{ frequency: 'hourly' }, '2026-12-31T23:30:00Z', '2027-01-01T00:00:00Z'],
  [{ frequency: 'daily' }, '2026-05-01T00:00:00Z', '2026-05-02T00:00:00Z'],
  [{ frequency: 'daily', hour: 3 }, '2026-05-01T02:59:59Z', '2026-05-01T03:00:00Z'],
  [{ frequency: 'daily', hour: 3 }, '2026-05-01T03:00:00Z', '2026-05-02T03:00:00Z'],
  [{ frequency: 'daily', hour: 23 }, '2026-02-28T23:00:00Z', '2026-03-01T23:00:00Z'],
  // 2026-11-23 is a Monday.
  [{ frequency: 'weekly' }, '2026-11-22T23:59:59Z', '2026-11-23T00:00:00Z'],
  [{ frequency: 'weekly', day: 1, hour: 5 }, '2026-11-23T05:00:00Z', '2026-11-30T05:00:00Z'],
  [{ frequency: 'weekly', day: 7, hour: 5 }, '2026-11-23T12:00:00Z', '2026-11-29T05:00:00Z'],
  [{ frequency: 'weekly', day: 7 }, '2026-11-29T00:00:01Z', '2026-12-06T00:00:00Z'],
  [{ frequency: 'weekly', day: 3, hour: 12 }, '2026-12-30T13:00:00Z', '2027-01-06T12:00:00Z'],
  [{ frequency: 'monthly' }, '2026-12-15T00:00:00Z', '2027-01-01T00:00:00Z'],
  [{ frequency: 'monthly', day: 31 }, '2026-02-01T00:00:00Z', '2026-02-28T00:00:00Z'],
  [{ frequency: 'monthly', day: 31 }, '2028-02-01T00:00:00Z', '2028-02-29T00:00:00Z'],
  [{ frequency: 'monthly', day: 31 }, '2026-02-28T00:00:00Z', '2026-03-31T00:00:00Z'],
  [{ frequency: 'monthly', day: 31, hour: 4 }, '2026-04-30T03:00:00Z', '2026-04-30T04:00:00Z'],
  [{ frequency: 'monthly', day: 15, hour: 4 }, '2026-04-15T04:00:00Z', '2026-05-15T04:00:00Z'],
  [{ frequency: 'yearly' }, '2026-01-01T00:00:00Z', '2027-01-01T00:00:00Z'],
  [{ frequency: 'yearly', month: 2, day: 29 }, '2026-01-01T00:00:00Z', '2026-02-28T00:00:00Z'],
  [{ frequency: 'yearly', month: 2, day: 29 }, '2027-03-01T00:00:00Z', '2028-02-29T00:00:00Z'],
  [{ frequency: 'yearly', month: 12, day: 31, hour: 23 }, '2026-12-31T23:00:00Z', '2027-12-31T23:00:00Z'],
];

test.each(TABLE)('%j after %s is %s', (item, after, next) => {
  expect(nextRunAt(item, new Date(after))).toEqual(new Date(next));
});

test('a run is always after the time that is asked about, and none lies between', () => {
  for (const [item] of TABLE) {
    let at = new Date('2026-01-31T12:34:56Z');
    for (let n = 0; n < 50; n += 1) {
      const next = nextRunAt(item, at);
      expect(next.getTime()).toBeGreaterThan(at.getTime());
      expect(nextRunAt(item, new Date(next.getTime() - 1))).toEqual(next);
      at = next;
    }
  }
});

test.each<readonly [SnapshotScheduleItem, string]>([
  [{ frequency: 'hourly', hour: 3 }, 'schedule.0.hour: it takes nothing where the frequency is hourly'],
  [{ frequency: 'daily', day: 3 }, 'schedule.0.day: it takes nothing where the frequency is daily'],
  [{ frequency: 'monthly', month: 3 }, 'schedule.0.month: it takes nothing where the frequency is monthly'],
  [{ frequency: 'weekly', day: 8 }, 'schedule.0.day: it takes a whole number from 1 to 7'],
  [{ frequency: 'daily', hour: 24 }, 'schedule.0.hour: it takes a whole number from 0 to 23'],
  [{ frequency: 'yearly', month: 0 }, 'schedule.0.month: it takes a whole number from 1 to 12'],
  [{ frequency: 'daily', retentionSeconds: 60 }, 'schedule.0.retention_seconds: it takes a whole number from 3600 to'],
])('%j is refused', (item, message) => {
  expect(() => checkSchedule([item])).toThrow(message);
});
