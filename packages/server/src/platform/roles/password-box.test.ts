import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Secret } from '../../kernel/secret.ts';
import { createPasswordBox } from './password-box.ts';

const owner = { branchId: 'br-a', role: 'alice' };

test('a password comes out as it went in, and no two boxes are alike', () => {
  const box = createPasswordBox(new Secret(randomBytes(32)));
  const sealed = box.encrypt(new Secret('pässword'), owner);
  expect(sealed.includes('pässword')).toBe(false);
  expect(box.encrypt(new Secret('pässword'), owner).equals(sealed)).toBe(false);
  expect(box.decrypt(sealed, owner)?.reveal()).toBe('pässword');
});

test('a box opens only for its owner, with its key, and whole', () => {
  const box = createPasswordBox(new Secret(randomBytes(32)));
  const sealed = box.encrypt(new Secret('x'), owner);
  expect(box.decrypt(sealed, { ...owner, role: 'bob' })).toBeUndefined();
  expect(box.decrypt(sealed, { ...owner, branchId: 'br-b' })).toBeUndefined();
  expect(createPasswordBox(new Secret(randomBytes(32))).decrypt(sealed, owner)).toBeUndefined();
  for (let i = 0; i < sealed.length; i += 1) {
    const changed = Buffer.from(sealed);
    changed[i] = (changed[i] ?? 0) ^ 1;
    expect(box.decrypt(changed, owner)).toBeUndefined();
    expect(box.decrypt(sealed.subarray(0, i), owner)).toBeUndefined();
  }
});

test('a key of another length is a bug', () => {
  expect(() => createPasswordBox(new Secret(randomBytes(16)))).toThrow('32 bytes');
});
