import { expect, test } from 'vitest';
import { codeOf } from '../kernel/errors.ts';
import { toConnectError, toMetadataError } from './metadata-error.ts';

const coded = (code: string, more = {}): Error => Object.assign(new Error(code), { code, ...more });

test.each<[string, unknown, string | undefined]>([
  ['no socket file', coded('ENOENT', { syscall: 'connect' }), 'METADATA_UNAVAILABLE'],
  ['nobody listens', coded('ECONNREFUSED', { syscall: 'connect' }), 'METADATA_UNAVAILABLE'],
  ['several addresses', new AggregateError([coded('ECONNREFUSED', { syscall: 'connect' })]), 'METADATA_UNAVAILABLE'],
  ['no such host', coded('ENOTFOUND', { syscall: 'getaddrinfo' }), 'METADATA_UNAVAILABLE'],
  ['connection failure', coded('08006'), 'METADATA_UNAVAILABLE'],
  ['shutting down', coded('57P01'), 'METADATA_UNAVAILABLE'],
  ['starting up', coded('57P03'), 'METADATA_UNAVAILABLE'],
  ['too many connections', coded('53300'), 'METADATA_UNAVAILABLE'],
  ['ended', new Error('Connection terminated unexpectedly'), 'METADATA_UNAVAILABLE'],
  ['no answer', new Error('Query read timeout'), 'METADATA_UNAVAILABLE'],
  ['pool exhausted', new Error('timeout exceeded when trying to connect'), 'METADATA_UNAVAILABLE'],
  ['disk full', coded('53100'), 'NO_SPACE'],
  ['a file that is missing', coded('ENOENT', { syscall: 'open' }), 'ENOENT'],
  ['unique violation', coded('23505'), '23505'],
  ['statement timeout', coded('57014'), '57014'],
  ['a bug', new Error('x is not a function'), undefined],
])('%s', (_, error, code) => {
  expect(codeOf(toMetadataError(error))).toBe(code);
});

test('a connect that is refused for whatever reason finds no database', () => {
  for (const code of ['28P01', '3D000', 'XX000']) expect(toConnectError(coded(code)).code).toBe('METADATA_UNAVAILABLE');
  expect(toConnectError(coded('53100')).code).toBe('NO_SPACE');
});
