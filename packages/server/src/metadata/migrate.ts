import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Pool, QueryConfig } from 'pg';
import { PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';

interface Migration {
  /** Such as `0001_operations`. */
  readonly name: string;
  readonly text: string;
  readonly checksum: string;
  /** The first line is `-- breaking`: code of before it cannot use the schema. */
  readonly isBreaking: boolean;
}

interface AppliedMigration {
  readonly name: string;
  readonly checksum: string;
  readonly breaking: boolean;
}

const DIRECTORY = fileURLToPath(new URL('./migrations/', import.meta.url));
const MIGRATION_TIMEOUT_MS = 600_000;

/** Hashed to the key of the advisory lock; the name keeps it apart from the locks of other programs. */
const LOCK_KEY = 'tenantry.migrate';

/**
 * Applies the migrations that the database lacks, each in a transaction of its own. Any number of processes may do so
 * at once: each transaction takes one advisory lock first and then looks at what is there.
 *
 * @param directory of files `NNNN_name.sql`, numbered from 1 without a gap, never changed once released
 * @throws PlatformError CONFLICT if an applied migration was changed since, or if the database has a newer breaking one
 */
export async function migrate(pool: Pool, log: Log, directory = DIRECTORY): Promise<void> {
  const migrations = await readMigrations(directory);
  for (;;) {
    const applied = await applyNext(pool, migrations);
    if (applied === undefined) return;
    log.info({ migration: applied }, 'metadata migration applied');
  }
}

/** Applies the first migration that is missing and gives its name; undefined if none is. */
async function applyNext(pool: Pool, migrations: readonly Migration[]): Promise<string | undefined> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    await client.query(`set local statement_timeout = ${MIGRATION_TIMEOUT_MS}`);
    await client.query(patient(`select pg_advisory_xact_lock(hashtextextended('${LOCK_KEY}', 0))`));
    await client.query(`
      create table if not exists schema_migrations (
        name text primary key,
        checksum text not null,
        breaking boolean not null,
        applied_at timestamptz not null default now()
      )`);
    const { rows } = await client.query<AppliedMigration>(
      'select name, checksum, breaking from schema_migrations order by name',
    );
    const next = nextMigration(migrations, rows);
    if (next) {
      await client.query(patient(next.text));
      await client.query('insert into schema_migrations (name, checksum, breaking) values ($1, $2, $3)', [
        next.name,
        next.checksum,
        next.isBreaking,
      ]);
    }
    await client.query('commit');
    client.release();
    return next?.name;
  } catch (error) {
    // Ends the transaction with the connection, whatever state it is in.
    client.release(true);
    throw error;
  }
}

/** A statement that gets longer than the pool's statements do. `pg` takes this field; its types do not know it. */
function patient(text: string): QueryConfig {
  const config = { text, query_timeout: MIGRATION_TIMEOUT_MS };
  return config;
}

/** Pure: which of the migrations comes next. Exported for its test. */
export function nextMigration(
  migrations: readonly Migration[],
  applied: readonly AppliedMigration[],
): Migration | undefined {
  const byName = new Map(migrations.map((m) => [m.name, m]));
  for (const { name, checksum, breaking } of applied) {
    const migration = byName.get(name);
    if (migration && migration.checksum !== checksum) {
      throw new PlatformError(
        'CONFLICT',
        `Cannot use the metadata database: migration ${name} was changed after it had been applied. Restore the file`,
      );
    }
    if (!migration && breaking) {
      throw new PlatformError(
        'CONFLICT',
        `Cannot use the metadata database: a newer Tenantry has applied ${name}. Start that version or a later one`,
      );
    }
  }
  const names = new Set(applied.map((a) => a.name));
  return migrations.find((m) => !names.has(m.name));
}

async function readMigrations(directory: string): Promise<readonly Migration[]> {
  const files = (await readdir(directory)).filter((f) => f.endsWith('.sql')).sort();
  return Promise.all(
    files.map(async (file, index) => {
      const number = String(index + 1).padStart(4, '0');
      if (!file.startsWith(`${number}_`)) {
        throw new Error(`Bug: migration ${file} should start with ${number}_`);
      }
      const text = await readFile(join(directory, file), 'utf8');
      return {
        name: file.slice(0, -'.sql'.length),
        text,
        checksum: createHash('sha256').update(text).digest('hex'),
        isBreaking: text.startsWith('-- breaking'),
      };
    }),
  );
}
