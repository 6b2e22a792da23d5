import { createHash, randomBytes } from 'node:crypto';
import { chmod, lchown, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createBuildUser, type BuildUser } from '../engines/build-user.ts';
import type { Engine } from '../engines/engine.ts';
import { syncTree } from '../engines/sync-tree.ts';
import { readFileIfExists, syncDirectory, writeFileAtomic } from '../kernel/atomic-file.ts';
import { codeOf, messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Secret } from '../kernel/secret.ts';
import { dataPathOf, type StorageBackend } from './backends/backend.ts';
import { templateSessions } from './template-sql.ts';
import type { FileOwner } from './volume-store.ts';
import { forEachParallel, listTree } from './walk-tree.ts';
import { packWal } from './wal-directory.ts';

/** Raise it when templates change in a way that their SQL does not show. */
const TEMPLATE_FORMAT = 1;

const BUILD_STEP_DEADLINE_MS = 120_000;

/** Young segments stay sparse, old ones go: the template ends with one nearly empty segment. */
const BUILD_SETTINGS = ['wal_init_zero=off', 'wal_recycle=off', 'min_wal_size=32MB', 'fsync=off', 'exit_on_error=on'];

/** The rule of every compute: a password even on the private socket, and nothing from anywhere else. */
const PG_HBA = 'local all all scram-sha-256\n';

export interface Template {
  readonly name: string;
  /** A tree to clone. */
  readonly treePath: string;
  readonly packedWalPath: string;
}

export interface TemplateStoreOptions {
  readonly backend: StorageBackend;
  readonly stagingDir: string;
  /** Builds templates and owns their files; null without root. */
  readonly runAs: FileOwner | null;
  readonly adminVerifier: Secret;
  /** Is a template, by its name, the restore point of some lineage? */
  readonly isReferenced: (name: string) => Promise<boolean>;
  readonly log: Log;
}

export interface TemplateStore {
  /**
   * The template of an engine, made on first use; concurrent first uses share one making. Older ones of its Postgres
   * version are then removed, unless a history begins with them.
   */
  get(engine: Engine): Promise<Template>;
}

export function createTemplateStore(options: TemplateStoreOptions): TemplateStore {
  const pending = new Map<string, Promise<Template>>();
  const templatesDir = join(options.backend.root, 'templates');

  async function ensure(engine: Engine, path: string): Promise<Template> {
    const template = { name: basename(path), treePath: join(path, 'tree'), packedWalPath: join(path, 'wal') };
    if ((await readFileIfExists(join(path, 'template.json'))) === undefined) await makeTemplate(engine, path, options);
    await removeOlder(engine);
    return template;
  }

  /** By way of staging, so that a crash leaves none that looks whole. One that was asked for here may be in use. */
  async function removeOlder({ pgVersion }: Engine): Promise<void> {
    const { backend, stagingDir, log } = options;
    for (const name of await readdir(templatesDir)) {
      const path = join(templatesDir, name);
      if (Number.parseInt(name, 10) !== pgVersion || pending.has(path)) continue;
      if (await options.isReferenced(name)) continue;
      const staged = join(stagingDir, `template.${randomBytes(4).toString('hex')}`);
      try {
        await rename(path, staged);
        await backend.removeTree(staged);
        log.info({ name }, 'older template removed');
      } catch (error) {
        log.warn({ name, reason: messageOf(error) }, 'cannot remove an older template');
      }
    }
  }

  return {
    async get(engine) {
      const path = join(templatesDir, templateName(engine, options.adminVerifier.reveal()));
      const making = pending.get(path) ?? ensure(engine, path);
      pending.set(path, making);
      try {
        return await making;
      } catch (error) {
        pending.delete(path);
        throw error;
      }
    },
  };
}

/** Names all that a template depends on, so that a change of any makes a new one: `17.10-npm-1-9f2c33d0`. */
function templateName({ pgVersion, fullVersion, source }: Engine, adminVerifier: string): string {
  const sql = JSON.stringify(templateSessions({ pgVersion, source }, adminVerifier));
  const digest = createHash('sha256').update(sql).digest('hex').slice(0, 8);
  return `${fullVersion}-${source}-${TEMPLATE_FORMAT}-${digest}`;
}

/** Builds beside, renames into place. */
async function makeTemplate(engine: Engine, path: string, options: TemplateStoreOptions): Promise<void> {
  const { backend, stagingDir, runAs, adminVerifier, log } = options;
  const startedMs = performance.now();
  const staging = join(stagingDir, `template.${randomBytes(4).toString('hex')}`);
  await mkdir(staging, { mode: 0o711 });
  try {
    const tree = join(staging, 'tree');
    const data = dataPathOf(tree);
    await backend.createTree(tree);
    const user = await createBuildUser({ runAs, workDir: staging, log });
    await mkdir(data, { mode: 0o700 });
    if (user.owner) await lchown(data, user.owner.uid, user.owner.gid);
    await runInitdb(engine, data, user);
    await runSessions(engine, data, user, adminVerifier.reveal());
    await rm(join(staging, 'passwd'), { force: true });
    await writeFile(join(data, 'pg_hba.conf'), PG_HBA);
    await packWal(join(data, 'pg_wal'), join(staging, 'wal'));
    if (runAs && user.owner?.uid !== runAs.uid) await giveTree(data, runAs);
    await backend.sealTree(tree);
    await syncTree(staging);
    await chmod(staging, 0o700);
    const { fullVersion, source } = engine;
    await writeFileAtomic(
      join(staging, 'template.json'),
      JSON.stringify({ format: TEMPLATE_FORMAT, fullVersion, source }),
    );
    await rename(staging, path).catch((error: unknown) => {
      // Another process was faster; its template is as good.
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error;
    });
    await syncDirectory(join(backend.root, 'templates'));
    log.info({ fullVersion, ms: Math.round(performance.now() - startedMs) }, 'template made');
  } finally {
    await backend.removeTree(staging);
  }
}

/** C.UTF-8 everywhere: from Postgres itself since 17, else from the C library where it has it. */
async function runInitdb({ pgVersion, initdbPath, env }: Engine, data: string, user: BuildUser): Promise<void> {
  const common = ['-D', data, '-U', 'cloud_admin', '-E', 'UTF8', '-A', 'trust', '--data-checksums', '--no-sync'];
  const builtin = pgVersion >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'] : [];
  const run = (locale: string): Promise<string> =>
    user.run(initdbPath, [...common, ...builtin, `--locale=${locale}`, '--lc-messages=C'], {
      deadlineMs: BUILD_STEP_DEADLINE_MS,
      env,
      cwd: '/',
    });
  try {
    await run('C.UTF-8');
  } catch (error) {
    if (!/invalid locale/i.test(String(error))) throw error;
    await run('C');
  }
}

async function runSessions(engine: Engine, data: string, user: BuildUser, adminVerifier: string): Promise<void> {
  const settings = BUILD_SETTINGS.flatMap((setting) => ['-c', setting]);
  for (const { database, statements } of templateSessions(engine, adminVerifier)) {
    await user.run(engine.postgresPath, ['--single', '-j', ...settings, '-D', data, database], {
      deadlineMs: BUILD_STEP_DEADLINE_MS,
      env: engine.env,
      cwd: '/',
      // With -j a statement ends at a semicolon and two line ends.
      input: statements.map((statement) => `${statement};\n\n`).join(''),
      secrets: [adminVerifier],
    });
  }
}

async function giveTree(data: string, owner: FileOwner): Promise<void> {
  await lchown(data, owner.uid, owner.gid);
  await forEachParallel(await listTree(data), ({ path }) => lchown(join(data, path), owner.uid, owner.gid));
}
