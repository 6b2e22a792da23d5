import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Secret } from '../../kernel/secret.ts';
import { type EmbeddedPostgres, type EmbeddedPostgresOptions, startEmbeddedPostgres } from '../embedded-postgres.ts';
import { testEngine } from './test-engine.ts';

export interface TestInstallation extends AsyncDisposable {
  readonly options: EmbeddedPostgresOptions;
  start(): Promise<EmbeddedPostgres>;
}

/** As in production: a number without a name. */
const BARE_OWNER = process.getuid?.() === 0 ? { uid: 1_899_999_999, gid: 1_899_999_999 } : null;

/** Directories for an embedded metadata Postgres; what was started in them is stopped when they are disposed. */
export async function testInstallation(): Promise<TestInstallation> {
  const directory = await mkdtemp(join(tmpdir(), 'tenantry-test-metadata-'));
  await chmod(directory, 0o711);
  const options: EmbeddedPostgresOptions = {
    dataDir: join(directory, 'metadata'),
    runDir: join(directory, 'run'),
    engine: await testEngine(),
    runAs: BARE_OWNER,
    password: new Secret('not a "simple\' password'),
    log: pino({ level: 'silent' }),
  };
  await mkdir(options.runDir, { mode: 0o711 });
  const started: EmbeddedPostgres[] = [];
  return {
    options,
    start: async () => {
      const postgres = await startEmbeddedPostgres(options);
      started.push(postgres);
      return postgres;
    },
    [Symbol.asyncDispose]: async () => {
      for (const postgres of started) await postgres.stop();
      await rm(directory, { recursive: true });
    },
  };
}
