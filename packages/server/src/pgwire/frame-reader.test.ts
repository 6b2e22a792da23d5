import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { message } from './fields.ts';
import { FrameReader, type Frame } from './frame-reader.ts';
import { ProtocolError } from './protocol-error.ts';
import { startupMessage } from './startup-packet.ts';

const bytes = (max: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength: max }).map((b) => Buffer.from(b));

function readAll(reader: FrameReader): Frame[] {
  const frames: Frame[] = [];
  for (let frame = reader.takeMessage(1000); frame; frame = reader.takeMessage(1000)) frames.push(frame);
  return frames;
}

test('messages come out the same wherever the stream is split', () => {
  const stream = fc.array(fc.tuple(fc.constantFrom('p', 'Q', 'X'), bytes(40)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(stream, fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 200 }), (messages, sizes) => {
      const all = Buffer.concat(messages.map(([type, body]) => message(type, body)));
      const reader = new FrameReader();
      const frames: Frame[] = [];
      let at = 0;
      for (const size of [...sizes, all.length]) {
        reader.push(all.subarray(at, at + size));
        at += size;
        frames.push(...readAll(reader));
      }
      expect(frames.map((f) => [f.type, f.body.toString('hex')])).toEqual(
        messages.map(([t, b]) => [t, b.toString('hex')]),
      );
      expect(Buffer.concat(frames.map((f) => f.raw))).toEqual(all);
      expect(reader.size).toBe(0);
    }),
  );
});

test('a startup packet split at every byte, with bytes of the next message behind it', () => {
  const all = Buffer.concat([
    startupMessage([
      ['user', 'u'],
      ['database', 'd'],
    ]),
    Buffer.from('rest'),
  ]);
  for (let at = 0; at <= all.length; at++) {
    const reader = new FrameReader();
    reader.push(all.subarray(0, at));
    const early = reader.takePacket(10_000);
    reader.push(all.subarray(at));
    const body = early ?? reader.takePacket(10_000);
    expect(body).toEqual(all.subarray(4, -4));
    expect(reader.takeRest().toString()).toBe('rest');
  }
});

test('one byte at a time', () => {
  const reader = new FrameReader();
  const all = message('p', Buffer.alloc(700, 7));
  const frames = [...all].flatMap((byte) => {
    reader.push(Buffer.of(byte));
    return readAll(reader);
  });
  expect(frames).toHaveLength(1);
});

test.each([-1, 0, 3, 1005, 0x7fffffff, -0x80000000])(
  'a message length of %i is refused from its header alone',
  (length) => {
    const head = Buffer.alloc(5, 'p');
    head.writeInt32BE(length, 1);
    const reader = new FrameReader();
    reader.push(head);
    expect(() => reader.takeMessage(1000)).toThrow(ProtocolError);
  },
);

test.each([-1, 0, 7, 10_005, 0x47455420])('a packet length of %i is refused from its header alone', (length) => {
  const head = Buffer.alloc(4);
  head.writeInt32BE(length);
  const reader = new FrameReader();
  reader.push(head);
  expect(() => reader.takePacket(10_000)).toThrow(ProtocolError);
});

test('garbage gives frames or a ProtocolError, nothing else', () => {
  fc.assert(
    fc.property(fc.array(bytes(30), { maxLength: 20 }), fc.boolean(), (chunks, isStartup) => {
      const reader = new FrameReader();
      try {
        for (const chunk of chunks) {
          reader.push(chunk);
          while (isStartup ? reader.takePacket(100) : reader.takeMessage(100));
        }
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});
