import { PlatformError } from '../kernel/errors.ts';
import { ALLOWED_SETTINGS } from './allowed-settings.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/** Bounds of a compute's size: 1 CU = 1 vCPU and 4 GiB. */
export interface ComputeSize {
  readonly minCu: number;
  readonly maxCu: number;
}

export interface ConfigFileOptions extends ComputeSize {
  readonly pgVersion: number;
  readonly pgSettings: Readonly<Record<string, string>>;
  /** Absolute directories and files; nothing in them may be writable by the tenant but the socket directory. */
  readonly socketDirectory: string;
  readonly hbaPath: string;
  readonly identPath: string;
}

export const memoryBytesOf = (cu: number): number => Math.round(cu * 4 * GIB);

/** The settings that follow the size, by Neon's formulas (docs/reference/compatibility). */
export function sizeSettings({ minCu, maxCu }: ComputeSize): Record<string, number> {
  const cu = Math.min(maxCu, 8 * minCu);
  const maxConnections = Math.max(100, Math.min(4000, Math.floor(cu * 419.66)));
  const maxWorkerProcesses = 12 + Math.floor(2 * maxCu);
  const sharedBuffersMb = Math.max(128, Math.floor((1023 + (1 + maxConnections + maxWorkerProcesses) * 256) / 1024));
  const maintenanceKb = Math.max(Math.floor((memoryBytesOf(minCu) * 1024) / 63_963_136), 65_536);
  // The lock tables have room for (this x max_connections) locks, and all of it is touched at start. For ordinary locks
  // what a stock Postgres has in all (6,400) is enough, for those of serializable transactions less; 64 for each of 839
  // connections would cost 10 ms of every wake and 10 MB.
  const locksFor = (total: number): number => Math.min(64, Math.max(10, Math.ceil(total / maxConnections)));
  return {
    max_connections: maxConnections,
    max_worker_processes: maxWorkerProcesses,
    shared_buffers: sharedBuffersMb,
    maintenance_work_mem: maintenanceKb,
    max_locks_per_transaction: locksFor(6400),
    max_pred_locks_per_transaction: locksFor(3200),
    effective_cache_size: Math.round((memoryBytesOf(maxCu) * 0.75) / MIB),
    // Zeroed at start; the automatic 4 MB costs 2 ms of every wake and 4 MB of memory.
    wal_buffers: Math.min(16_384, Math.max(256, Math.round(maxCu * 512))),
  };
}

const UNITS: Readonly<Record<string, string>> = {
  shared_buffers: 'MB',
  maintenance_work_mem: 'kB',
  effective_cache_size: 'MB',
  wal_buffers: 'kB',
};

/** Every setting of a compute, by name: what the platform decides, over what the user asked for, over defaults. */
export function configSettings(options: ConfigFileOptions): Record<string, string> {
  const sized = Object.entries(sizeSettings(options)).map(([name, value]) => [name, `${value}${UNITS[name] ?? ''}`]);
  return {
    ...Object.fromEntries(sized),
    ...DEFAULTS,
    ...usableSettings(options),
    ...fixedSettings(options),
  };
}

/** The text of postgresql.conf. */
export function renderConfigFile(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = ${quoteValue(value)}\n`)
    .join('');
}

/** Must a running Postgres be restarted to go from one set of settings to the other, or is a reload enough? */
export function isRestartNeeded(
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): boolean {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].some((name) => before[name] !== after[name] && NEEDS_RESTART.has(name));
}

const NEEDS_RESTART = new Set([
  'max_connections',
  'max_worker_processes',
  'shared_buffers',
  'max_locks_per_transaction',
  'max_pred_locks_per_transaction',
  'wal_buffers',
  ...Object.entries(ALLOWED_SETTINGS).flatMap(([name, { applies }]) => (applies === 'restart' ? [name] : [])),
]);

/**
 * Settings of a user with their names in lower case, as they are to be stored.
 * @throws PlatformError INVALID_REQUEST that names a setting which is malformed, named twice, or not on the list of
 * harmless ones
 */
export function checkPgSettings(
  settings: Readonly<Record<string, string>>,
  pgVersion: number,
): Readonly<Record<string, string>> {
  const checked = new Map<string, string>();
  for (const [given, value] of Object.entries(settings)) {
    const name = given.toLowerCase();
    const problem = checked.has(name) ? `"${name}" is given twice` : problemOf(name, value, pgVersion);
    if (problem) throw new PlatformError('INVALID_REQUEST', `Cannot use pg_settings: ${problem}`);
    checked.set(name, value);
  }
  return Object.fromEntries(checked);
}

/** Those that may be used. A spec is checked when it comes; one from an older Tenantry must still start. */
function usableSettings({ pgSettings, pgVersion }: ConfigFileOptions): Record<string, string> {
  const lower = Object.entries(pgSettings).map(([name, value]) => [name.toLowerCase(), value] as const);
  return Object.fromEntries(lower.filter(([name, value]) => !problemOf(name, value, pgVersion)));
}

function problemOf(name: string, value: unknown, pgVersion: number): string | undefined {
  const allowed = Object.hasOwn(ALLOWED_SETTINGS, name) ? ALLOWED_SETTINGS[name] : undefined;
  if (!allowed || (allowed.since ?? 0) > pgVersion) return `"${name.slice(0, 63)}" cannot be set`;
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  if (typeof value !== 'string' || value.length > 1000 || /[\u0000-\u001f]/.test(value)) {
    return `the value of "${name}" is malformed`;
  }
  const max = VALUES_MAX[name];
  if (max !== undefined && Number(value) > max) return `"${name}" is at most ${max}`;
  return VALUE_PATTERNS[allowed.type].test(value) ? undefined : `"${name}" takes ${TAKES[allowed.type]}`;
}

/** Each takes shared memory per unit, which Postgres believes until it cannot be had. */
const VALUES_MAX: Readonly<Record<string, number>> = {
  max_locks_per_transaction: 4096,
  max_prepared_transactions: 1000,
};

const VALUE_PATTERNS = {
  boolean: /^(on|off|true|false|yes|no|0|1)$/i,
  number: /^-?\d+(\.\d+)?\s*(B|kB|MB|GB|TB|us|ms|s|min|h|d)?$/,
  text: /^[^\\]*$/,
} as const;

const TAKES = { boolean: 'on or off', number: 'a number, with a unit where it has one', text: 'text' } as const;

/** What an endpoint gets unless its own settings say otherwise. */
const DEFAULTS: Readonly<Record<string, string>> = {
  idle_in_transaction_session_timeout: '5min',
  client_connection_check_interval: '60s',
  timezone: 'UTC',
  default_text_search_config: 'pg_catalog.english',
};

/** What nobody may change: safety, isolation, and what lets an awake idle compute rest. */
function fixedSettings({ pgVersion, maxCu, ...paths }: ConfigFileOptions): Record<string, string> {
  return {
    listen_addresses: '',
    unix_socket_directories: paths.socketDirectory,
    unix_socket_permissions: '0700',
    hba_file: paths.hbaPath,
    ident_file: paths.identPath,
    password_encryption: 'scram-sha-256',
    superuser_reserved_connections: '4',
    fsync: 'on',
    full_page_writes: 'on',
    wal_level: 'replica',
    max_wal_senders: '10',
    max_replication_slots: '10',
    // A tenant that forgets a replication slot must not fill the disk of all.
    max_slot_wal_keep_size: '4GB',
    wal_recycle: 'off',
    wal_init_zero: 'off',
    min_wal_size: '32MB',
    // A branch of a running compute replays what came since its last finished checkpoint began. One begins after
    // max_wal_size / (1 + target), 64 MB here, and takes `target` of the time to the next: so up to 96 MB are replayed,
    // 64 MB as a rule. Redo takes 2.3 ms of CPU per MB on the machine this was measured on, half of it for the memory
    // of the pages.
    max_wal_size: '96MB',
    checkpoint_completion_target: '0.5',
    // The background writer takes what was just replayed for the work of a busy server and writes it: 0.1 s of CPU per
    // branch, against its parent. Whoever needs a buffer writes the page that is in it.
    bgwriter_lru_maxpages: '0',
    // What a host that is away for a while does not miss; the history holds these segments anyway.
    wal_keep_size: '2GB',
    temp_file_limit: `${Math.max(20, Math.ceil(15 * maxCu))}GB`,
    huge_pages: 'off',
    jit: 'off',
    // With it on, the postmaster would restart a crashed compute behind the host's back, again and again, and the
    // host's table would not be the one place that knows what runs. Off, a crash ends the process: the host notes it
    // and the next acquire starts it, with a pause between failures.
    restart_after_crash: 'off',
    // Standard error goes to a file of the host, which bounds it. LOG and up leaves out tenants' own ERRORs, and no
    // statement text is ever logged: it may hold a password.
    log_destination: 'stderr',
    logging_collector: 'off',
    log_timezone: 'UTC',
    log_line_prefix: '%m [%p] ',
    log_min_messages: 'log',
    log_min_error_statement: 'panic',
    log_min_duration_statement: '-1',
    log_statement: 'none',
    log_connections: 'off',
    log_disconnections: 'off',
    log_checkpoints: 'off',
    log_autovacuum_min_duration: '-1',
    // What a branch or a crashed compute replays begins with the whole image of each page, so there is nothing to read
    // ahead; asking for it took two thirds of the CPU of a replay: 0.3 s of redo for 110 MB without, 0.6 to 1.1 s with.
    ...(pgVersion >= 15 ? { recovery_prefetch: 'off' } : {}),
    ...(pgVersion >= 17 ? { allow_alter_system: 'off', summarize_wal: 'off' } : {}),
    // One worker more for nothing but reads that are already in the page cache; sync keeps an idle compute smaller.
    ...(pgVersion >= 18 ? { io_method: 'sync' } : {}),
  };
}

/** A value as a quoted string of postgresql.conf. */
function quoteValue(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
