import { describe, expect, test } from 'vitest';
import { PlatformError } from '../kernel/errors.ts';
import { checkPgSettings, configSettings, isRestartNeeded, renderConfigFile, sizeSettings } from './settings.ts';

const options = {
  minCu: 0.25,
  maxCu: 2,
  pgVersion: 17,
  pgSettings: {},
  socketDirectory: '/run/x/c/a/s',
  hbaPath: '/run/x/c/a/pg_hba.conf',
  identPath: '/run/x/c/a/pg_ident.conf',
};

describe('settings of a size', () => {
  test.each([
    [0.25, 104],
    [0.5, 209],
    [1, 419],
    [2, 839],
    [3, 1258],
    [4, 1678],
    [5, 2098],
    [6, 2517],
    [7, 2937],
    [8, 3357],
    [9, 3776],
    [10, 4000],
    [16, 4000],
  ])('%d CU have %d connections', (cu, connections) => {
    expect(sizeSettings({ minCu: cu, maxCu: cu })['max_connections']).toBe(connections);
  });

  test('connections follow eight times the smallest size at most', () => {
    expect(sizeSettings({ minCu: 0.25, maxCu: 8 })['max_connections']).toBe(839);
  });

  test('workers, buffers and maintenance memory follow the formulas', () => {
    expect(sizeSettings({ minCu: 0.25, maxCu: 0.25 })).toMatchObject({
      max_worker_processes: 12,
      shared_buffers: 128,
      maintenance_work_mem: 65_536,
    });
    expect(sizeSettings({ minCu: 2, maxCu: 2 })).toMatchObject({
      max_worker_processes: 16,
      shared_buffers: 214,
      maintenance_work_mem: 137_518,
    });
  });

  test('the lock tables never have less room than those of a stock Postgres', () => {
    for (const cu of [0.25, 0.5, 1, 2, 4, 8, 16]) {
      const { max_connections: connections = 0, max_locks_per_transaction: locks = 0 } = sizeSettings({
        minCu: cu,
        maxCu: cu,
      });
      expect(connections * locks).toBeGreaterThanOrEqual(6400);
    }
  });
});

describe('settings of a user', () => {
  test.each([
    'shared_preload_libraries',
    'session_preload_libraries',
    'local_preload_libraries',
    'jit_provider',
    'dynamic_library_path',
    'archive_command',
    'archive_library',
    'restore_command',
    'ssl_passphrase_command',
    'ssl_cert_file',
    'data_directory',
    'hba_file',
    'ident_file',
    'config_file',
    'external_pid_file',
    'unix_socket_directories',
    'unix_socket_permissions',
    'listen_addresses',
    'port',
    'log_directory',
    'log_filename',
    'log_statement',
    'fsync',
    'full_page_writes',
    'wal_level',
    'temp_tablespaces',
    'krb_server_keyfile',
    'allow_system_table_mods',
    'zero_damaged_pages',
    'password_encryption',
    'max_slot_wal_keep_size',
    'constructor',
    '__proto__x',
    'work_mem\nfsync',
  ])('%j cannot be set', (name) => {
    expect(() => checkPgSettings({ [name]: 'on' }, 17)).toThrow(PlatformError);
    const settings = configSettings({ ...options, pgSettings: { [name]: 'evil' } });
    expect(Object.values(settings)).not.toContain('evil');
  });

  test.each([
    ['work_mem', 'much'],
    ['work_mem', "4MB'\nfsync = off"],
    ['autovacuum', 'perhaps'],
    ['search_path', 'a\\b'],
    ['search_path', 'x'.repeat(1001)],
  ])('%s = %j is refused', (name, value) => {
    expect(() => checkPgSettings({ [name]: value }, 17)).toThrow(/Cannot use pg_settings/);
  });

  test('names are given back in lower case, and taken once', () => {
    expect(checkPgSettings({ WORK_MEM: '8MB', TimeZone: 'UTC' }, 17)).toEqual({ work_mem: '8MB', timezone: 'UTC' });
    expect(() => checkPgSettings({ work_mem: '8MB', Work_Mem: '9MB' }, 17)).toThrow(/twice/);
  });

  test('a setting of a later version is refused', () => {
    expect(() => checkPgSettings({ transaction_timeout: '1min' }, 16)).toThrow(PlatformError);
    checkPgSettings({ transaction_timeout: '1min' }, 17);
  });

  test('what is allowed wins over the size and the defaults, not over what is fixed', () => {
    const settings = configSettings({ ...options, pgSettings: { WORK_MEM: '64MB', timezone: "Europe/Berlin'" } });
    expect(settings).toMatchObject({ work_mem: '64MB', fsync: 'on', listen_addresses: '' });
    expect(renderConfigFile(settings)).toContain("timezone = 'Europe/Berlin'''\n");
  });
});

describe('a change of settings', () => {
  const before = configSettings(options);

  test('of the size needs a restart', () => {
    expect(isRestartNeeded(before, configSettings({ ...options, minCu: 1, maxCu: 4 }))).toBe(true);
  });

  test('that Postgres can reload needs none, also when it is taken back', () => {
    const after = configSettings({ ...options, pgSettings: { work_mem: '64MB' } });
    expect([isRestartNeeded(before, after), isRestartNeeded(after, before)]).toEqual([false, false]);
  });

  test('of a setting that is read at start needs one', () => {
    const after = configSettings({ ...options, pgSettings: { max_prepared_transactions: '10' } });
    expect([isRestartNeeded(before, after), isRestartNeeded(after, before)]).toEqual([true, true]);
  });
});
