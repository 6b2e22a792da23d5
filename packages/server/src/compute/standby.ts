import { CAPACITY_NAMES, type Capacity } from '../wal/control-file.ts';

/**
 * A standby looks for new WAL this often. Each look is some 20 system calls: at 100 ms an idle one uses about 0.1 % of a
 * CPU for it.
 */
const LOOK_MS = 100;

type Settings = Readonly<Record<string, string>>;

/**
 * The settings of a hot standby that reads the WAL its host links for it: as for any compute, with room for at least
 * what its primary has, without which Postgres neither starts nor goes on replaying.
 * @param room settings by name: a `Capacity`, or those that a standby runs with
 */
export function standbySettings(settings: Settings, room: Capacity | Settings): Settings {
  const raised = CAPACITY_NAMES.map((name) => [name, String(Math.max(valueOf(settings, name), valueOf(room, name)))]);
  return {
    ...settings,
    ...Object.fromEntries(raised),
    hot_standby: 'on',
    wal_retrieve_retry_interval: `${LOOK_MS}ms`,
    // Its WAL is its primary's, which keeps it.
    wal_keep_size: '0',
    // It lives on replay: pages that it has not in memory are many, once its primary's checkpoint is long past.
    ...(settings['recovery_prefetch'] === undefined ? {} : { recovery_prefetch: 'try' }),
    // Each time that it has read all WAL there is, Postgres would log that the next record is not valid.
    log_min_messages: 'fatal',
  };
}

/** Has the primary more room by now than a standby that runs with these settings? */
export const isOutgrown = (settings: Settings, capacity: Capacity): boolean =>
  CAPACITY_NAMES.some((name) => valueOf(settings, name) < capacity[name]);

/** What is not set is 0 by default: `max_prepared_transactions`. */
const valueOf = (settings: Capacity | Settings, name: keyof Capacity): number => Number(settings[name] ?? 0);
