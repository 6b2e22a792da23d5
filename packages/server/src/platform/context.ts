import type { Kysely } from 'kysely';
import type { Host } from '../host/host.ts';
import type { Log } from '../kernel/log.ts';
import type { Tables } from '../metadata/tables.ts';
import type { OperationEngine } from '../operations/operation.ts';
import type { DirectoryFeed } from './directory/directory-feed.ts';
import { Notifier } from './notifier.ts';
import { SeenCatalogs } from './reports/seen-catalogs.ts';
import type { PasswordBox } from './roles/password-box.ts';

export interface PlatformSettings {
  /** `localhost`, or the domain that endpoints are named under. */
  readonly domain: string;
  /** The port that Postgres clients dial. */
  readonly pgPort: number;
  /** Smallest positive `suspend_timeout_seconds` that is taken. */
  readonly minSuspendSeconds: number;
  /** How long a command waits for its operations before it answers. */
  readonly answerWaitMs: number;
  /**
   * The same for a new project: without its volume it is of no use to anyone, so this is as long as a client's patience.
   * Only the first use of a Postgres version takes more than a moment.
   */
  readonly createWaitMs: number;
}

/**
 * The part of computes that says which server settings a client may choose: gives them as they are to be stored.
 * @throws PlatformError INVALID_REQUEST
 */
export type CheckPgSettings = (
  settings: Readonly<Record<string, string>>,
  pgVersion: number,
) => Readonly<Record<string, string>>;

/** What steps of operations and loops are handed. */
export interface PlatformDeps {
  readonly metadata: Kysely<Tables>;
  readonly host: Host;
  readonly directory: DirectoryFeed;
  /** Told after each report of a host that has been stored. */
  readonly reported: Notifier;
  readonly seenCatalogs: SeenCatalogs;
  readonly passwords: PasswordBox;
  readonly checkPgSettings: CheckPgSettings;
  readonly settings: PlatformSettings;
  readonly now: () => Date;
  readonly log: Log;
}

/** What commands are handed. */
export interface PlatformContext extends PlatformDeps {
  readonly engine: OperationEngine;
}

export type PlatformDepsOptions = Omit<PlatformDeps, 'reported' | 'seenCatalogs' | 'now'> & {
  readonly now?: () => Date;
};

/** What `createOperationEngine` (as `deps`) and `createPlatform` are handed. */
export function createPlatformDeps(options: PlatformDepsOptions): PlatformDeps {
  return { now: () => new Date(), ...options, reported: new Notifier(), seenCatalogs: new SeenCatalogs() };
}
