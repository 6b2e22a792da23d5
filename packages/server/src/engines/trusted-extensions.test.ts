import { describe, expect, it } from 'vitest';
import { TRUSTED_EXTENSIONS, withTrusted } from './trusted-extensions.ts';

describe('withTrusted', () => {
  it('adds the line once, whatever was said before', () => {
    const trusted = `comment = 'x'\nrelocatable = true\ntrusted = true\n`;
    expect(withTrusted(`comment = 'x'\nrelocatable = true\n`)).toBe(trusted);
    expect(withTrusted(`comment = 'x'\ntrusted = false\nrelocatable = true\n\n`)).toBe(trusted);
    expect(withTrusted(trusted)).toBe(trusted);
  });
});

describe('the trusted extensions', () => {
  it('hold none that reaches files, programs or raw pages', () => {
    for (const name of [
      'adminpack',
      'file_fdw',
      'pageinspect',
      'pg_surgery',
      'pg_walinspect',
      'plperlu',
      'plpython3u',
      'pltclu',
      'hstore_plpython3u',
      'basic_archive',
      'test_decoding',
    ]) {
      expect(TRUSTED_EXTENSIONS.has(name)).toBe(false);
    }
  });
});
