import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERROR_CODES, type ErrorCode } from '@tenantry/contract/error-codes.ts';
import { expect, test } from 'vitest';
import { PlatformError } from '../kernel/errors.ts';
import { parseErrorResponse } from '../pgwire/backend-messages.ts';
import { ProtocolError } from '../pgwire/protocol-error.ts';
import {
  ADMIN_SHUTDOWN,
  addressNotAllowed,
  blockedAfterFailures,
  ComputeRefusal,
  computeUnreachable,
  endpointDisabled,
  endpointMalformed,
  endpointNotSpecified,
  endpointsDiffer,
  endpointUnknown,
  insecureConnection,
  protectedRole,
  shuttingDown,
  toErrorAnswer,
  tooManyAttempts,
  unsupportedVersion,
  userMissing,
  wrongPassword,
} from './error-response.ts';

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
  for (const code of ['HOST_UNAVAILABLE', 'DEADLINE_EXCEEDED', 'OPERATION_FAILED', 'INTERNAL'] as const) {
    expect(fieldsOf(new PlatformError(code, 'x'))).toMatchObject({
      sqlstate: 'XX000',
      message: "Couldn't connect to compute node",
    });
  }
  expect(fieldsOf(new PlatformError('RATE_LIMITED', 'x'))).toMatchObject({ sqlstate: 'XX000' });
  expect(fieldsOf(new PlatformError('COMPUTE_START_FAILED', 'Cannot start the compute: why'))).toMatchObject({
    sqlstate: '57P03',
    message: 'Cannot start the compute: why',
  });
  expect(fieldsOf(new ProtocolError('invalid message length'))).toMatchObject({ severity: 'FATAL', sqlstate: '08P01' });
});

test('docs/errors.md lists every refusal of the gateway as it is, and no other', () => {
  const told = [
    endpointNotSpecified(),
    endpointsDiffer('ep-a', 'ep-b'),
    endpointMalformed('ep_a'),
    userMissing(),
    insecureConnection(),
    endpointUnknown(),
    endpointDisabled(),
    addressNotAllowed('192.0.2.1'),
    protectedRole(),
    wrongPassword('alice'),
    new PlatformError('ACTIVE_ENDPOINTS_LIMIT_EXCEEDED', 'x'),
    tooManyAttempts(),
    blockedAfterFailures(),
    computeUnreachable(),
    shuttingDown(),
  ].map((error) => toErrorAnswer(error).bytes);
  const rows = [...told, ADMIN_SHUTDOWN, unsupportedVersion(4, 0)].map((bytes) => {
    const { sqlstate, message } = parseErrorResponse(bytes.subarray(5));
    return `${sqlstate} ${message}`;
  });
  const text = readFileSync(join(import.meta.dirname, '../../../../docs/errors.md'), 'utf8');
  const documented = [...text.matchAll(/^\| `([0-9A-Z]{5})` \| `(.+)` \| /gm)].map(
    ([, state, words]) => `${state} ${words}`,
  );
  expect(documented).toEqual(rows);
});

test('the gateway has its refusals in one file', () => {
  const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' });
  const making = files.filter((file) => {
    if (!file.endsWith('.ts') || file.includes('.test.')) return false;
    return readFileSync(join(import.meta.dirname, file), 'utf8').includes('new GatewayError(');
  });
  expect(making).toEqual(['error-response.ts']);
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
