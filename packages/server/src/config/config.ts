import { homedir } from 'node:os';
import { resolve } from 'node:path';
import { PlatformError } from '../kernel/errors.ts';
import { Secret } from '../kernel/secret.ts';

export type StorageSetting = 'auto' | 'btrfs' | 'reflink' | 'zfs' | 'copy';

/** Settings of the operator: flags of `./start` over environment over defaults. */
export interface Config {
  /** Absolute. Everything worth keeping is below it. */
  readonly dataDir: string;
  /** Address that API, Postgres and HTTPS ports listen on. */
  readonly listenAddress: string;
  readonly apiPort: number;
  readonly pgPort: number;
  /** False: the next free port may be taken instead. */
  readonly isPgPortFixed: boolean;
  readonly httpsPort: number;
  readonly domain: string;
  /** Undefined: Tenantry runs a metadata Postgres of its own. */
  readonly databaseUrl: Secret | undefined;
  readonly storage: StorageSetting;
  /** Undefined: made at first start, kept in the data directory. */
  readonly adminKey: Secret | undefined;
  readonly minSuspendSeconds: number;
  /** Of one API key; 0: no limit. */
  readonly apiRequestsPerMinute: number;
  /** Branches as old as this that nobody uses are kept compressed; 0: none ever. */
  readonly archiveAfterDays: number;
  readonly gatewayWorkers: number;
  /** Null: from the machine's memory. */
  readonly computesAwakeMax: number | null;
  readonly logLevel: string;
  /** `file`: `<dataDir>/logs/tenantry.log`, so that the terminal stays readable; `stderr` for service managers. */
  readonly logTo: 'file' | 'stderr';
}

interface Setting {
  readonly env: string;
  readonly flag: string;
  readonly fallback: string;
  readonly docs: string;
}

const setting = (env: string, flag: string, fallback: string, docs: string): Setting => ({ env, flag, fallback, docs });

/** Every setting, its flag and what it means; `docs/settings.md` is compared with this table by a test. */
export const SETTINGS = {
  dataDir: setting(
    'TENANTRY_DATA_DIR',
    'data-dir',
    '.tenantry',
    'Directory of everything worth keeping; by default in the checkout.',
  ),
  listenAddress: setting(
    'TENANTRY_LISTEN',
    'listen',
    '',
    'Address to listen on: 127.0.0.1 while the domain is localhost, else 0.0.0.0.',
  ),
  apiPort: setting('TENANTRY_API_PORT', 'api-port', '4400', 'Management API under /api/v2.'),
  pgPort: setting(
    'TENANTRY_PG_PORT',
    'pg-port',
    '',
    'Postgres clients: 5432, or the next free port where that is taken and this is not set.',
  ),
  httpsPort: setting('TENANTRY_HTTPS_PORT', 'https-port', '4443', 'Kept for SQL over HTTP and WebSocket.'),
  domain: setting('TENANTRY_DOMAIN', 'domain', 'localhost', 'Endpoints are named <endpoint id>.<domain>.'),
  databaseUrl: setting(
    'TENANTRY_DATABASE_URL',
    'database-url',
    '',
    'Postgres for the metadata; without it Tenantry runs one of its own.',
  ),
  storage: setting('TENANTRY_STORAGE', 'storage', 'auto', 'auto, btrfs, reflink, zfs or copy.'),
  adminKey: setting(
    'TENANTRY_ADMIN_KEY',
    'admin-key',
    '',
    'API key of the operator; made at first start if not given.',
  ),
  minSuspendSeconds: setting(
    'TENANTRY_MIN_SUSPEND_SECONDS',
    'min-suspend-seconds',
    '60',
    'Smallest suspend_timeout_seconds that the API accepts.',
  ),
  apiRequestsPerMinute: setting(
    'TENANTRY_API_REQUESTS_PER_MINUTE',
    'api-requests-per-minute',
    '0',
    'Requests that an API key may make, four seconds of them at once; more are answered with 429. 0: no limit.',
  ),
  archiveAfterDays: setting(
    'TENANTRY_ARCHIVE_AFTER_DAYS',
    'archive-after-days',
    '14',
    'Branches of this age that were idle for a day are kept compressed until someone connects; 0: never.',
  ),
  gatewayWorkers: setting(
    'TENANTRY_GATEWAY_WORKERS',
    'gateway-workers',
    '',
    'Gateway processes; one per core unless given.',
  ),
  computesAwakeMax: setting(
    'TENANTRY_COMPUTES_AWAKE_MAX',
    'computes-awake-max',
    '',
    'Computes that may be awake at once; from the memory unless given.',
  ),
  logTo: setting('TENANTRY_LOG_TO', 'log-to', 'file', 'file (logs/tenantry.log in the data directory) or stderr.'),
  logLevel: setting('TENANTRY_LOG_LEVEL', 'log-level', 'info', 'trace, debug, info, warn, error or silent.'),
} as const satisfies Record<string, Setting>;

type Values = Record<keyof typeof SETTINGS, string>;

/**
 * Reads and checks all settings.
 * @throws PlatformError INVALID_REQUEST that names the setting and what it takes
 */
export function readConfig(
  flags: Readonly<Record<string, string | undefined>>,
  env: Readonly<Record<string, string | undefined>>,
  cores: number,
  { cwd, checkout }: { readonly cwd: string; readonly checkout: string },
): Config {
  const values = {} as Values;
  for (const [name, { env: envName, flag, fallback }] of Object.entries(SETTINGS)) {
    values[name as keyof Values] = flags[flag] ?? (env[envName] || fallback);
  }
  const domain = values.domain.toLowerCase();
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(domain)) throw badSetting('domain', 'a host name');
  return {
    dataDir: dataDirectory(values.dataDir, cwd, checkout),
    listenAddress: values.listenAddress || (domain === 'localhost' ? '127.0.0.1' : '0.0.0.0'),
    apiPort: integer(values, 'apiPort', 0, 65_535, 4400),
    pgPort: integer(values, 'pgPort', 0, 65_535, 5432),
    isPgPortFixed: values.pgPort !== '',
    httpsPort: integer(values, 'httpsPort', 0, 65_535, 4443),
    domain,
    databaseUrl: values.databaseUrl ? new Secret(postgresUrl(values.databaseUrl)) : undefined,
    storage: oneOf(values, 'storage', ['auto', 'btrfs', 'reflink', 'zfs', 'copy']),
    adminKey: values.adminKey ? new Secret(adminKey(values.adminKey)) : undefined,
    minSuspendSeconds: integer(values, 'minSuspendSeconds', 1, 604_800, 60),
    apiRequestsPerMinute: integer(values, 'apiRequestsPerMinute', 0, 1_000_000, 0),
    archiveAfterDays: days(values, 'archiveAfterDays', 36_500),
    gatewayWorkers: integer(values, 'gatewayWorkers', 1, 256, cores),
    computesAwakeMax: values.computesAwakeMax ? integer(values, 'computesAwakeMax', 1, 1_000_000, 1) : null,
    logTo: oneOf(values, 'logTo', ['file', 'stderr']),
    logLevel: oneOf(values, 'logLevel', ['trace', 'debug', 'info', 'warn', 'error', 'silent']),
  };
}

/** The default lies in the checkout, wherever the command is run; a relative path of the operator's is below the cwd. */
export function dataDirectory(given: string | undefined, cwd: string, checkout: string): string {
  if (!given || given === SETTINGS.dataDir.fallback) return resolve(checkout, SETTINGS.dataDir.fallback);
  return resolve(cwd, given.replace(/^~(?=\/|$)/, homedir()));
}

function badSetting(name: keyof Values, takes: string): PlatformError {
  const { env, flag } = SETTINGS[name];
  return new PlatformError('INVALID_REQUEST', `Cannot start: ${env} (--${flag}) takes ${takes}`);
}

function integer(values: Values, name: keyof Values, min: number, max: number, fallback: number): number {
  const text = values[name];
  if (text === '') return fallback;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) throw badSetting(name, `a whole number from ${min} to ${max}`);
  return value;
}

/** May be a fraction. */
function days(values: Values, name: keyof Values, max: number): number {
  const value = Number(values[name]);
  if (!/^\d+(\.\d+)?$/.test(values[name]) || value > max) throw badSetting(name, `a number of days from 0 to ${max}`);
  return value;
}

function oneOf<const T extends string>(values: Values, name: keyof Values, choices: readonly T[]): T {
  const choice = choices.find((c) => c === values[name]);
  if (!choice) throw badSetting(name, `one of ${choices.join(', ')}`);
  return choice;
}

function postgresUrl(text: string): string {
  if (!/^postgres(ql)?:\/\//.test(text)) throw badSetting('databaseUrl', 'a URL that starts with postgresql://');
  return text;
}

function adminKey(text: string): string {
  if (!/^[\x21-\x7e]{16,256}$/.test(text)) throw badSetting('adminKey', '16 to 256 visible ASCII characters');
  return text;
}
