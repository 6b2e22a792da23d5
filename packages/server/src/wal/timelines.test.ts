import { expect, test } from 'vitest';
import { parseTimelineHistory, timelineOfEnd, timelineOfSegment } from './timelines.ts';

const text = '1\t0/3000060\tno recovery target specified\n\n2\t0/5000000\tbefore 2000-01-01 00:00:00+00\n';
const timelines = parseTimelineHistory(text, 5);

test('reads a history file', () => {
  expect(timelines).toEqual([
    { timeline: 1, from: 0n },
    { timeline: 2, from: 0x300_0060n },
    { timeline: 5, from: 0x500_0000n },
  ]);
  expect(parseTimelineHistory('', 1)).toEqual([{ timeline: 1, from: 0n }]);
  expect(() => parseTimelineHistory('nonsense', 2)).toThrow('history of timeline 2');
});

test('a switch is in the file of the new timeline', () => {
  expect(timelineOfSegment(timelines, 0x2ff_ffffn)).toBe(1);
  expect(timelineOfSegment(timelines, 0x300_0000n)).toBe(2);
  expect(timelineOfSegment(timelines, 0x4ff_ffffn)).toBe(2);
  expect(timelineOfSegment(timelines, 0x500_0000n)).toBe(5);
});

test('what ends at a switch is of the old timeline', () => {
  expect(timelineOfEnd(timelines, 0x300_0060n)).toBe(1);
  expect(timelineOfEnd(timelines, 0x300_0061n)).toBe(2);
  expect(timelineOfEnd(timelines, 0x600_0000n)).toBe(5);
});
