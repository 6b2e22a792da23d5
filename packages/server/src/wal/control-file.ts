import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from './crc32c.ts';
import type { Lsn } from './lsn.ts';
import { SEGMENT_BYTES } from './segment-name.ts';

/** Facts: src/include/catalog/pg_control.h; up to `CRC_FROM` the layout is the same in Postgres 14 to 18. */
const AT = {
  systemIdentifier: 0,
  version: 8,
  state: 16,
  time: 24,
  checkpoint: 32,
  redo: 40,
  timeline: 48,
  previousTimeline: 52,
  checkpointTime: 104,
  minRecoveryPoint: 136,
  minRecoveryPointTimeline: 144,
  backupStart: 152,
  backupEnd: 160,
  backupEndRequired: 168,
  maxConnections: 180,
  maxWorkerProcesses: 184,
  maxWalSenders: 188,
  maxPreparedTransactions: 192,
  maxLocksPerTransaction: 196,
  blockBytes: 216,
  walBlockBytes: 224,
  segmentBytes: 228,
} as const;

/** The CRC is the last field; where it is differs by version, and what is behind it is zero. */
const CRC_FROM = 232;
const CRC_TO = 508;
const VERSIONS: ReadonlySet<number> = new Set([1300, 1700, 1800]);

const STATES = [
  'starting up',
  'shut down',
  'shut down in recovery',
  'shutting down',
  'in crash recovery',
  'in archive recovery',
  'in production',
] as const;

export type ControlState = (typeof STATES)[number];

const SHUT_DOWN_IN_RECOVERY = 2;

/** What `global/pg_control` says. LSNs and timelines are 0 where Postgres has none. */
export interface ControlFile {
  readonly systemIdentifier: bigint;
  readonly controlVersion: number;
  readonly state: ControlState;
  /** Where the record of the last checkpoint begins. */
  readonly checkpoint: Lsn;
  /** Where replay begins. */
  readonly redo: Lsn;
  readonly timeline: number;
  readonly previousTimeline: number;
  readonly checkpointTime: Date;
  readonly minRecoveryPoint: Lsn;
  readonly minRecoveryPointTimeline: number;
  readonly capacity: Capacity;
}

/** Settings that a standby must have as high as its primary. */
export const CAPACITY_NAMES = [
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_transactions',
  'max_locks_per_transaction',
] as const;

/** Settings by their names, as the Postgres that wrote the volume's WAL last started with them. */
export type Capacity = Readonly<Record<(typeof CAPACITY_NAMES)[number], number>>;

/** @throws Error if there is none, or it is not one of Postgres 14 to 18, whole. */
export async function readControlFile(dataPath: string): Promise<{ control: ControlFile; bytes: Buffer }> {
  const bytes = await readFile(join(dataPath, 'global/pg_control'));
  return { control: parseControlFile(bytes), bytes };
}

/** @throws Error if it is not the whole control file of a Postgres 14 to 18 with blocks and segments of the usual size. */
export function parseControlFile(bytes: Uint8Array): ControlFile {
  findCrc(bytes);
  const view = viewOf(bytes);
  const state = STATES[view.getUint32(AT.state, true)];
  if (state === undefined) throw new Error('Cannot read pg_control: it says an unknown state');
  return {
    systemIdentifier: view.getBigUint64(AT.systemIdentifier, true),
    controlVersion: view.getUint32(AT.version, true),
    state,
    checkpoint: view.getBigUint64(AT.checkpoint, true),
    redo: view.getBigUint64(AT.redo, true),
    timeline: view.getUint32(AT.timeline, true),
    previousTimeline: view.getUint32(AT.previousTimeline, true),
    checkpointTime: new Date(Number(view.getBigInt64(AT.checkpointTime, true)) * 1000),
    minRecoveryPoint: view.getBigUint64(AT.minRecoveryPoint, true),
    minRecoveryPointTimeline: view.getUint32(AT.minRecoveryPointTimeline, true),
    capacity: {
      max_connections: view.getInt32(AT.maxConnections, true),
      max_worker_processes: view.getInt32(AT.maxWorkerProcesses, true),
      max_wal_senders: view.getInt32(AT.maxWalSenders, true),
      max_prepared_transactions: view.getInt32(AT.maxPreparedTransactions, true),
      max_locks_per_transaction: view.getInt32(AT.maxLocksPerTransaction, true),
    },
  };
}

/**
 * The control file of a standby that was stopped and is consistent from `minRecoveryPoint` on: Postgres then replays
 * from the checkpoint, without a sync of every file first, and takes the end of recovery with a record alone.
 * @throws Error as `parseControlFile`
 */
export function withRecoveryState(
  bytes: Uint8Array,
  { minRecoveryPoint, timeline }: { readonly minRecoveryPoint: Lsn; readonly timeline: number },
): Buffer {
  const crcAt = findCrc(bytes);
  const changed = Buffer.from(bytes);
  const view = viewOf(changed);
  view.setUint32(AT.state, SHUT_DOWN_IN_RECOVERY, true);
  view.setBigUint64(AT.minRecoveryPoint, minRecoveryPoint, true);
  view.setUint32(AT.minRecoveryPointTimeline, timeline, true);
  view.setBigUint64(AT.backupStart, 0n, true);
  view.setBigUint64(AT.backupEnd, 0n, true);
  view.setUint8(AT.backupEndRequired, 0);
  view.setUint32(crcAt, crc32c(changed, 0, crcAt), true);
  return changed;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** Where the CRC is, found by verifying it. */
function findCrc(bytes: Uint8Array): number {
  if (bytes.length < CRC_TO + 4) throw new Error(`Cannot read pg_control: it has only ${bytes.length} bytes`);
  const view = viewOf(bytes);
  const version = view.getUint32(AT.version, true);
  if (!VERSIONS.has(version)) throw new Error(`Cannot read pg_control: its version ${version} is not known`);
  let crc = crc32c(bytes, 0, CRC_FROM);
  for (let at = CRC_FROM; at <= CRC_TO; at += 4) {
    if (view.getUint32(at, true) === crc) return checkSizes(view, at);
    crc = crc32c(bytes, at, at + 4, crc);
  }
  throw new Error('Cannot read pg_control: its checksum is wrong');
}

function checkSizes(view: DataView, crcAt: number): number {
  for (const [at, bytes] of [
    [AT.blockBytes, 8192],
    [AT.walBlockBytes, 8192],
    [AT.segmentBytes, SEGMENT_BYTES],
  ] as const) {
    const found = view.getUint32(at, true);
    if (found !== bytes)
      throw new Error(`Cannot use this cluster: it is built with ${found} bytes instead of ${bytes}`);
  }
  return crcAt;
}
