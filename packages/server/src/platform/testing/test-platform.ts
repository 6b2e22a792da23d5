import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { Secret } from '../../kernel/secret.ts';
import { sleep } from '../../kernel/wait.ts';
import { testDatabase, type TestDatabase } from '../../metadata/testing/test-database.ts';
import { runEngine, type RunningEngine } from '../../operations/testing/running-engine.ts';
import { bootstrap } from '../accounts/bootstrap.ts';
import { createPlatformDeps, type PlatformContext, type PlatformSettings } from '../context.ts';
import { createPlatform, operationDefinitions } from '../create-platform.ts';
import { DirectoryFeed } from '../directory/directory-feed.ts';
import type { Platform, Principal } from '../platform.ts';
import { ingestReports } from '../reports/ingest-reports.ts';
import { createPasswordBox } from '../roles/password-box.ts';
import { FakeHost } from './fake-host.ts';

export const TEST_ADMIN_KEY = 'test-admin-key-0123456789';

export interface TestPlatform extends AsyncDisposable {
  readonly platform: Platform;
  readonly principal: Principal;
  readonly host: FakeHost;
  readonly database: TestDatabase;
  readonly engine: RunningEngine;
  readonly context: PlatformContext;
  /** A key of another user with an organization of their own. */
  stranger(): Promise<Principal>;
}

interface TestPlatformOptions {
  readonly settings?: Partial<PlatformSettings>;
  readonly now?: () => Date;
  readonly barrier?: (seq: number) => Promise<void>;
  /** Reports of the host are ingested, unless false. */
  readonly followsReports?: boolean;
  /** Operations run, unless false. */
  readonly runsEngine?: boolean;
}

/** The domain on a real metadata Postgres, with a real engine and a host in memory. */
export async function testPlatform(options: TestPlatformOptions = {}): Promise<TestPlatform> {
  const database = await testDatabase();
  const log = pino({ level: 'silent' });
  const host = new FakeHost();
  const deps = createPlatformDeps({
    metadata: database.db,
    host,
    directory: new DirectoryFeed({ log, ...(options.barrier && { barrier: options.barrier }) }),
    passwords: createPasswordBox(new Secret(randomBytes(32))),
    checkPgSettings: (settings) => settings,
    settings: {
      domain: 'localhost',
      pgPort: 5432,
      minSuspendSeconds: 60,
      answerWaitMs: 2_000,
      createWaitMs: options.settings?.answerWaitMs ?? 2_000,
      ...options.settings,
    },
    log,
    ...(options.now && { now: options.now }),
  });
  await bootstrap(deps, new Secret(TEST_ADMIN_KEY));
  const definitions = options.runsEngine === false ? [] : operationDefinitions;
  const engine = runEngine(database, { definitions, deps });
  const context = { ...deps, engine };
  const platform = createPlatform(deps, engine);
  const stop = new AbortController();
  const following = options.followsReports === false ? undefined : ingestReports(context, stop.signal);
  return {
    platform,
    principal: await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1'),
    host,
    database,
    engine,
    context,
    stranger: () => addStranger(database),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await following;
      await engine[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function addStranger({ db }: TestDatabase): Promise<Principal> {
  const name = `stranger-${randomBytes(4).toString('hex')}`;
  const organizationId = `org-${name}` as const;
  await db
    .insertInto('users')
    .values({ id: name, email: `${name}@example.com`, login: name, name })
    .execute();
  await db.insertInto('organizations').values({ id: organizationId, name, handle: name, plan: 'scale' }).execute();
  return { kind: 'user', apiKeyId: 0, userId: name, organizationIds: [organizationId] };
}

/** Waits until `look` gives something but undefined or false. */
export async function eventually<T>(look: () => Promise<T | undefined | false>, withinMs = 5_000): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${look.toString()}`);
    await sleep(10);
  }
}
