import { describe, expect, test } from 'vitest';
import { readConfig, SETTINGS } from './config.ts';

const read = (flags: Record<string, string> = {}, env: Record<string, string> = {}) =>
  readConfig(flags, env, 4, { cwd: '/home/me', checkout: '/srv/tenantry' });

describe('readConfig', () => {
  test('has a default for everything', () => {
    expect(read()).toMatchObject({
      dataDir: '/srv/tenantry/.tenantry',
      listenAddress: '127.0.0.1',
      apiPort: 4400,
      pgPort: 5432,
      isPgPortFixed: false,
      httpsPort: 4443,
      domain: 'localhost',
      databaseUrl: undefined,
      storage: 'auto',
      minSuspendSeconds: 60,
      apiRequestsPerMinute: 0,
      archiveAfterDays: 14,
      gatewayWorkers: 4,
      computesAwakeMax: null,
    });
  });

  test('takes a flag over the environment, and the environment over the default', () => {
    expect(read({ 'api-port': '1' }, { TENANTRY_API_PORT: '2' }).apiPort).toBe(1);
    expect(read({}, { TENANTRY_API_PORT: '2' }).apiPort).toBe(2);
  });

  test('takes parts of a day, and 0 for never', () => {
    expect(read({ 'archive-after-days': '0.25' }).archiveAfterDays).toBe(0.25);
    expect(read({}, { TENANTRY_ARCHIVE_AFTER_DAYS: '0' }).archiveAfterDays).toBe(0);
  });

  test('takes an empty variable as not set', () => {
    expect(read({}, { TENANTRY_PG_PORT: '' }).isPgPortFixed).toBe(false);
  });

  test('reads a relative data directory from where the command was run', () => {
    expect(read({ 'data-dir': 'data' }).dataDir).toBe('/home/me/data');
  });

  test('listens to the world only when there is a domain', () => {
    expect(read({ domain: 'DB.example.com' })).toMatchObject({ domain: 'db.example.com', listenAddress: '0.0.0.0' });
    expect(read({ domain: 'db.example.com', listen: '10.0.0.1' }).listenAddress).toBe('10.0.0.1');
  });

  test.each([
    ['api-port', '65536'],
    ['api-port', '-1'],
    ['api-port', '4400x'],
    ['min-suspend-seconds', '0'],
    ['archive-after-days', '-1'],
    ['archive-after-days', 'soon'],
    ['gateway-workers', '0'],
    ['domain', '-bad-'],
    ['domain', 'a b'],
    ['storage', 'floppy'],
    ['log-level', 'loud'],
    ['database-url', 'mysql://x'],
    ['admin-key', 'short'],
  ])('refuses --%s %s and says what it takes', (flag, value) => {
    const { env } = Object.values(SETTINGS).find((setting) => setting.flag === flag) ?? { env: '' };
    expect(() => read({ [flag]: value })).toThrow(new RegExp(`^Cannot start: ${env} \\(--${flag}\\) takes `));
  });

  test('keeps secrets out of JSON', () => {
    const config = read({ 'admin-key': 'a-key-of-the-operator', 'database-url': 'postgresql://u:hunter2@h/d' });
    expect(JSON.stringify(config)).not.toMatch(/a-key-of-the-operator|hunter2/);
    expect(config.databaseUrl?.reveal()).toBe('postgresql://u:hunter2@h/d');
  });
});
