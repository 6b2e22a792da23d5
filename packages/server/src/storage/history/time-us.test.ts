import { describe, expect, it } from 'vitest';
import { formatTimeUs, parseTimeUs } from './time-us.ts';

describe('times in microseconds', () => {
  it.each([
    ['2026-01-31T12:00:00Z', '2026-01-31T12:00:00.000Z'],
    ['2026-01-31T12:00:00.1Z', '2026-01-31T12:00:00.100Z'],
    ['2026-01-31T12:00:00.123456Z', '2026-01-31T12:00:00.123456Z'],
    ['2026-01-31T12:00:00.000001Z', '2026-01-31T12:00:00.000001Z'],
    ['2026-01-31T12:00:00.123456789+02:00', '2026-01-31T10:00:00.123456Z'],
  ])('%s is %s', (text, same) => {
    const timeUs = parseTimeUs(text);
    expect(timeUs).toBeDefined();
    expect(formatTimeUs(timeUs ?? 0)).toBe(same);
  });

  it('does not take what is no time', () => {
    expect(parseTimeUs('yesterday')).toBeUndefined();
  });
});
