import { ERROR_CODES, type ErrorCode } from '@tenantry/contract/error-codes.ts';
import { expect, test } from 'vitest';
import { PlatformError } from '../kernel/errors.ts';
import { parseErrorResponse } from '../pgwire/backend-messages.ts';
import { ProtocolError } from '../pgwire/protocol-error.ts';
import { ComputeRefusal, toErrorAnswer } from './error-response.ts';

const fieldsOf = (error: unknown): unknown => parseErrorResponse(toErrorAnswer(error).bytes.subarray(5));

test('every public code has an SQLSTATE', () => {
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    const answer = toErrorAnswer(new PlatformError(code, 'Cannot do it'));
    expect(answer.sqlstate).toMatch(/^[0-9A-Z]{5}$/);
    expect(answer.isBug).toBe(false);
  }
});

test('words that clients know', () => {
  expect(fieldsOf(new PlatformError('ENDPOINT_DISABLED', 'x'))).toMatchObject({
    severity: 'ERROR',
    sqlstate: 'XX000',
    message: 'The endpoint has been disabled. Enable it using Neon API and retry.',
  });
  expect(fieldsOf(new PlatformError('ACTIVE_ENDPOINTS_LIMIT_EXCEEDED', 'x'))).toMatchObject({ sqlstate: '53000' });
  expect(fieldsOf(new PlatformError('COMPUTE_START_FAILED', 'Cannot start the compute: why'))).toMatchObject({
    sqlstate: '57P03',
    message: 'Cannot start the compute: why',
  });
  expect(fieldsOf(new ProtocolError('invalid message length'))).toMatchObject({ severity: 'FATAL', sqlstate: '08P01' });
});

test('what nobody expected stays inside', () => {
  const answer = toErrorAnswer(new Error('secret path /x'));
  expect(answer.isBug).toBe(true);
  expect(answer.bytes.toString()).not.toContain('secret');
});

test("the compute's own error passes byte for byte", () => {
  const raw = Buffer.from('E\0\0\0\x05\0');
  expect(toErrorAnswer(new ComputeRefusal('', raw)).bytes).toBe(raw);
});
