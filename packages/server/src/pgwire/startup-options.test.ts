import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { parsePasswordWithEndpoint, parseStartupOptions } from './startup-options.ts';

test.each([
  ['endpoint=ep-x', 'ep-x', undefined],
  ['project=ep-x', 'ep-x', undefined],
  ['endpoint%3Dep-x', 'ep-x', undefined],
  ['endpoint%3dep-x -c a=b', 'ep-x', '-c a=b'],
  ['-c statement_timeout=5s  endpoint=ep-x\t--search_path=a,b', 'ep-x', '-c statement_timeout=5s --search_path=a,b'],
  ['-c geqo=off', undefined, '-c geqo=off'],
  ['neon_lsn:0/16 endpoint=ep-x neon_endpoint_type%3Aread_only', 'ep-x', undefined],
  ['endpoint=ep-x project=ep-y', undefined, undefined],
  ['-c search_path=a\\ b endpoint=ep-x', 'ep-x', '-c search_path=a\\ b'],
  ['end\\point=ep-x', 'ep-x', undefined],
  ['-c a=endpoint=ep-x', undefined, '-c a=endpoint=ep-x'],
  ['', undefined, undefined],
  ['   ', undefined, undefined],
  ['endpoint=', '', undefined],
  ['-c a=b\\', undefined, '-c a=b\\'],
])('options %j', (options, endpoint, forwarded) => {
  expect(parseStartupOptions(options)).toEqual({ endpoint, forwarded });
});

test('words that are not ours pass unchanged', () => {
  const word = fc.stringMatching(/^-c[a-z\\= ]{0,8}x$/);
  fc.assert(
    fc.property(fc.array(word, { minLength: 1 }), (words) => {
      const text = words.join(' ');
      const { forwarded = '' } = parseStartupOptions(`endpoint=ep-x ${text}`);
      expect(forwarded.replaceAll(/\s+/g, ' ')).toBe(text.trim().replaceAll(/\s+/g, ' '));
    }),
  );
});

test.each([
  ['endpoint=ep-x;secret', { endpoint: 'ep-x', password: 'secret' }],
  ['endpoint=ep-x$se;cr$et', { endpoint: 'ep-x', password: 'se;cr$et' }],
  ['project=ep-x;', { endpoint: 'ep-x', password: '' }],
  ['endpoint=ep-x', undefined],
  ['secret', undefined],
])('password %j', (text, expected) => {
  expect(parsePasswordWithEndpoint(text)).toEqual(expected);
});
