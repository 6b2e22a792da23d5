import { createHash, createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { makeVerifier, parseVerifier } from './scram-verifier.ts';

/** RFC 7677 section 3: user "user", password "pencil". */
const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
const AUTH_MESSAGE =
  'n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
const PROOF = Buffer.from('dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=', 'base64');
const SERVER_SIGNATURE = '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=';

describe('a verifier', () => {
  test('holds the keys of the RFC example', () => {
    const verifier = parseVerifier(makeVerifier('pencil', 4096, SALT));
    expect(verifier?.salt).toEqual(SALT);
    const clientSignature = createHmac('sha256', verifier?.storedKey ?? '')
      .update(AUTH_MESSAGE)
      .digest();
    const clientKey = PROOF.map((byte, index) => byte ^ (clientSignature[index] ?? 0));
    expect(createHash('sha256').update(clientKey).digest()).toEqual(verifier?.storedKey);
    expect(
      createHmac('sha256', verifier?.serverKey ?? '')
        .update(AUTH_MESSAGE)
        .digest('base64'),
    ).toBe(SERVER_SIGNATURE);
  });

  test('has 4,096 to 100,000 iterations, or fewer where the caller says so', () => {
    for (const [count, min] of [[4096], [100_000], [1, 1]] as const) {
      expect(parseVerifier(makeVerifier('x', count), min)?.iterations).toBe(count);
    }
  });

  test('prepares passwords as SASLprep says, and takes those it forbids as they are', () => {
    expect(makeVerifier('I\u00ADX', 4096, SALT)).toBe(makeVerifier('IX', 4096, SALT));
    expect(makeVerifier('a\u0007b', 4096, SALT)).not.toBe(makeVerifier('ab', 4096, SALT));
  });

  test.each([
    '',
    'md5c4ca4238a0b923820dcc509a6f75849b',
    'SCRAM-SHA-256$4096:x$y:z',
    makeVerifier('x', 4095),
    makeVerifier('x', 4096).replace('$4096:', '$100001:'),
  ])('is not %s', (text) => expect(parseVerifier(text)).toBeUndefined());
});
