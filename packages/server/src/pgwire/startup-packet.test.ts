import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { int32 } from './fields.ts';
import { ProtocolError } from './protocol-error.ts';
import { cancelRequest, parseStartupPacket, startupMessage } from './startup-packet.ts';

const body = (packet: Buffer): Buffer => packet.subarray(4);
const code = (major: number, minor: number): Buffer => int32((major << 16) | minor);

test('startup parameters survive the way there and back', () => {
  const text = fc.string({ minLength: 1, maxLength: 20 }).filter((s) => !s.includes('\0'));
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(text, text), { selector: ([name]) => name }), (parameters) => {
      const parsed = parseStartupPacket(body(startupMessage(parameters)));
      expect(parsed).toEqual({ kind: 'startup', minor: 0, parameters: new Map(parameters) });
    }),
  );
});

test('empty values and repeated names are taken as Postgres takes them', () => {
  const parsed = parseStartupPacket(
    body(
      startupMessage([
        ['user', 'a'],
        ['options', ''],
        ['user', 'b'],
      ]),
    ),
  );
  expect(parsed).toMatchObject({
    parameters: new Map([
      ['user', 'b'],
      ['options', ''],
    ]),
  });
});

test.each([
  ['no terminator', 'user\0u\0'],
  ['a name without a value', 'user\0\0'.slice(0, 5)],
  ['bytes behind the terminator', 'user\0u\0\0x'],
  ['a lone byte', 'x'],
  ['nothing', ''],
])('%s is refused', (_, text) => {
  expect(() => parseStartupPacket(Buffer.concat([code(3, 0), Buffer.from(text)]))).toThrow(ProtocolError);
});

test('requests and versions', () => {
  expect(parseStartupPacket(code(1234, 5679))).toEqual({ kind: 'ssl_request' });
  expect(parseStartupPacket(code(1234, 5680))).toEqual({ kind: 'gss_enc_request' });
  expect(parseStartupPacket(Buffer.concat([code(3, 9999), Buffer.alloc(1)]))).toMatchObject({ minor: 9999 });
  expect(parseStartupPacket(code(2, 0))).toEqual({ kind: 'unsupported_version', major: 2, minor: 0 });
  expect(parseStartupPacket(code(4, 0))).toEqual({ kind: 'unsupported_version', major: 4, minor: 0 });
  expect(parseStartupPacket(code(0xffff, 0xffff))).toMatchObject({ major: 0xffff, minor: 0xffff });
});

test.each([4, 32, 256])('a cancel key of %i bytes', (length) => {
  const key = { processId: 0xfedcba98, secret: Buffer.alloc(length, 0xab) };
  expect(parseStartupPacket(body(cancelRequest(key)))).toEqual({ kind: 'cancel_request', key });
});

test.each([0, 3, 257])('a cancel key of %i bytes is refused', (length) => {
  const packet = cancelRequest({ processId: 1, secret: Buffer.alloc(length) });
  expect(() => parseStartupPacket(body(packet))).toThrow(ProtocolError);
});

test('garbage gives a packet or a ProtocolError, nothing else', () => {
  const known = fc.constantFrom(code(3, 0), code(1234, 5678), Buffer.alloc(0));
  fc.assert(
    fc.property(known, fc.uint8Array({ maxLength: 300 }), (start, rest) => {
      try {
        parseStartupPacket(Buffer.concat([start, rest]));
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});
