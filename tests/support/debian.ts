import { existsSync } from 'node:fs';
import { run, runOk } from './run.ts';

/**
 * Makes sure that Debian packages are installed: by apt-get as root on Debian and its kin.
 * @returns null, or why it could not be done (said to people; tests that need the packages are skipped then)
 */
export async function ensureDebianPackages(packages: readonly string[]): Promise<string | null> {
  const missing = await missingPackages(packages);
  if (missing.length === 0) return null;
  if (!existsSync('/usr/bin/apt-get')) return `no apt-get here to install ${missing.join(', ')}`;
  if (process.getuid?.() !== 0) return `not root, so cannot install ${missing.join(', ')}`;
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await runOk('apt-get', ['update', '-q'], { env, timeoutMs: 300_000 });
  await runOk('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...missing], { env, timeoutMs: 600_000 });
  return null;
}

async function missingPackages(packages: readonly string[]): Promise<string[]> {
  const { stdout } = await run('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n', ...packages]).catch(
    () => ({
      stdout: '',
    }),
  );
  return packages.filter((name) => !stdout.includes(`${name} installed\n`));
}

/** What the tests of real clients need and this machine lacks. */
export async function clientPackages(): Promise<string[]> {
  const lacks = async (command: string, flag: string): Promise<boolean> =>
    (await run(command, [flag]).catch(() => ({ code: 1 }))).code !== 0;
  return [
    ...((await lacks('psql', '--version')) ? ['postgresql-client'] : []),
    ...((await lacks('pgbench', '--version')) ? ['postgresql-contrib'] : []),
    'python3-psycopg',
    'python3-asyncpg',
    'libpostgresql-jdbc-java',
    ...((await lacks('javac', '-version')) ? ['default-jdk-headless'] : []),
  ];
}
