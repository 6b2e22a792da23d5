import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEngineStore } from '../engines/engine-store.ts';
import { PG_VERSIONS, type Engine } from '../engines/engine.ts';
import { npmInstallDir } from '../engines/npm-packages.ts';
import { createLog } from '../kernel/log.ts';
import { ALLOWED_SETTINGS } from './allowed-settings.ts';
import { configSettings } from './settings.ts';

const REPOSITORY = resolve(import.meta.dirname, '../../../..');
/** Where `tenantry engine install` puts those that an operator wants beside 17. */
const INSTALLED = resolve(REPOSITORY, process.env['TENANTRY_DATA_DIR'] ?? '.tenantry', 'engines');

let directory: string;
let engines: readonly Engine[];

beforeAll(async () => {
  directory = mkdtempSync('/tmp/tenantry-settings-');
  chmodSync(directory, 0o755);
  const installed = PG_VERSIONS.map((pgVersion) => join(npmInstallDir(INSTALLED, pgVersion), 'node_modules'));
  const packagesDirs = [join(REPOSITORY, 'node_modules'), ...installed];
  const log = createLog('test', 'error');
  const store = createEngineStore({ enginesDir: directory, packagesDirs, runAs: null, log });
  const found = await Promise.allSettled(PG_VERSIONS.map((pgVersion) => store.get(pgVersion)));
  engines = found.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface LiveSetting {
  readonly applies: 'reload' | 'restart';
  readonly type: 'boolean' | 'number' | 'text';
}

/** All settings of a server, in lower case, in its own words. */
function describeConfig({ postgresPath, env }: Engine): Map<string, LiveSetting> {
  const text = execFileSync(postgresPath, ['--describe-config'], { encoding: 'utf8', env: { ...env } });
  const rows = text.split('\n').map((line) => line.split('\t'));
  return new Map(
    rows.map(([name = '', context, , type]) => [
      name.toLowerCase(),
      {
        applies: context === 'postmaster' ? 'restart' : 'reload',
        type: type === 'BOOLEAN' ? 'boolean' : type === 'INTEGER' || type === 'REAL' ? 'number' : 'text',
      },
    ]),
  );
}

test('every setting that a user may choose exists, is of the type noted, and applies when we say', () => {
  expect(engines.map(({ pgVersion }) => pgVersion)).toContain(17);
  for (const engine of engines) {
    const live = describeConfig(engine);
    for (const [name, { applies, type, since = 0 }] of Object.entries(ALLOWED_SETTINGS)) {
      const where = `${name} of ${engine.fullVersion}`;
      const found = live.get(name);
      expect(found !== undefined, where).toBe(since <= engine.pgVersion);
      if (!found) continue;
      expect(found.type, where).toBe(type);
      // A restart where a reload would do is slower, not wrong: autovacuum_max_workers from 18 on.
      if (applies === 'reload') expect(found.applies, where).toBe('reload');
      else if (engine.pgVersion <= 17) expect(found.applies, where).toBe('restart');
    }
  }
});

test('every setting of a compute exists', () => {
  for (const engine of engines) {
    const paths = { socketDirectory: '/s', hbaPath: '/h', identPath: '/i' };
    const ours = configSettings({ pgVersion: engine.pgVersion, minCu: 0.25, maxCu: 2, pgSettings: {}, ...paths });
    const live = describeConfig(engine);
    expect(
      Object.keys(ours).filter((name) => !live.has(name)),
      engine.fullVersion,
    ).toEqual([]);
  }
});
