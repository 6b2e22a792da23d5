import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import * as backend from './backend-messages.ts';
import { cstring, int32 } from './fields.ts';
import { FrameReader, type Frame } from './frame-reader.ts';
import { parsePassword, parseSaslInitialResponse, saslInitialResponse, saslResponse } from './frontend-messages.ts';
import { ProtocolError } from './protocol-error.ts';

function only(bytes: Buffer): Frame {
  const reader = new FrameReader();
  reader.push(bytes);
  const frame = reader.takeMessage(10_000);
  if (!frame) throw new Error('no whole message');
  expect(reader.size).toBe(0);
  return frame;
}

test('SASL initial response', () => {
  const frame = only(saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abc'));
  expect(parseSaslInitialResponse(frame.body)).toEqual({ mechanism: 'SCRAM-SHA-256', data: 'n,,n=,r=abc' });
  expect(only(saslResponse('c=biws')).body.toString()).toBe('c=biws');
});

test.each([-1, -2, 0x7fffffff, -0x80000000, 3, 1])(
  'a SASL length of %i beside 2 bytes is refused (CVE-2026-6664)',
  (length) => {
    const body = Buffer.concat([cstring('SCRAM-SHA-256'), int32(length), Buffer.from('ab')]);
    expect(() => parseSaslInitialResponse(body)).toThrow(ProtocolError);
  },
);

test('a password ends at its terminator and nothing may follow', () => {
  expect(parsePassword(cstring('s3cret'))).toBe('s3cret');
  expect(() => parsePassword(Buffer.from('abc'))).toThrow(ProtocolError);
  expect(() => parsePassword(Buffer.from('abc\0d'))).toThrow(ProtocolError);
});

test('authentication requests', () => {
  const parse = (bytes: Buffer): unknown => backend.parseAuthentication(only(bytes).body);
  expect(parse(backend.authenticationOk())).toEqual({ kind: 'ok' });
  expect(parse(backend.authenticationSasl(['A', 'B']))).toEqual({ kind: 'sasl', mechanisms: ['A', 'B'] });
  expect(parse(backend.authenticationSaslContinue('x'))).toEqual({ kind: 'sasl_continue', data: 'x' });
  expect(parse(backend.authenticationSaslFinal('y'))).toEqual({ kind: 'sasl_final', data: 'y' });
  expect(parse(backend.authenticationCleartextPassword())).toEqual({ kind: 'other', code: 3 });
});

test('error fields, whole or broken (CVE-2026-6666)', () => {
  const fields = { severity: 'FATAL', sqlstate: '57P01', message: 'é\0nd' };
  expect(backend.parseErrorResponse(only(backend.errorResponse(fields)).body)).toEqual({ ...fields, message: 'énd' });
  expect(backend.parseErrorResponse(Buffer.from('Mtext\0\0'))).toEqual({ severity: '', sqlstate: '', message: 'text' });
  expect(backend.parseErrorResponse(Buffer.alloc(0))).toMatchObject({ sqlstate: '' });
});

test('backend key data of 4 to 256 bytes', () => {
  const key = { processId: 0xffffffff, secret: Buffer.alloc(32, 1) };
  expect(backend.parseBackendKeyData(only(backend.backendKeyData(key)).body)).toEqual(key);
  expect(() => backend.parseBackendKeyData(Buffer.alloc(7))).toThrow(ProtocolError);
  expect(() => backend.parseBackendKeyData(Buffer.alloc(261))).toThrow(ProtocolError);
});

test('negotiation names the version and the options not known', () => {
  const frame = only(backend.negotiateProtocolVersion((3 << 16) | 2, ['_pq_.x']));
  expect(frame.type).toBe('v');
  expect(frame.body).toEqual(Buffer.concat([int32((3 << 16) | 2), int32(1), cstring('_pq_.x')]));
});

test('garbage gives values or a ProtocolError, nothing else', () => {
  const parsers = [
    parseSaslInitialResponse,
    parsePassword,
    backend.parseAuthentication,
    backend.parseBackendKeyData,
    backend.parseErrorResponse,
  ];
  fc.assert(
    fc.property(fc.constantFrom(...parsers), fc.uint8Array({ maxLength: 60 }), (parse, bytes) => {
      try {
        parse(Buffer.from(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});
