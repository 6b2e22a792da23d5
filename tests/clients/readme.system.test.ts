import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runOk } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { skipWithout } from '../support/tools.ts';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const README = readFileSync(join(REPOSITORY, 'README.md'), 'utf8');

let platform: RunningPlatform;

beforeAll(async () => {
  platform = await startPlatform();
});

afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

/** The README's blocks of one language, as a reader pastes them, but for the address and the data directory. */
function blocks(language: string): string[] {
  const found = [...README.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].filter(([, name]) => name === language);
  return found.map(([, , text = '']) =>
    text
      .replaceAll('http://localhost:4400/api/v2', platform.ready.api_url)
      .replaceAll('.tenantry/', `${platform.dataDir}/`),
  );
}

/** Of the machine that the reader is said to be at: `./tenantry` finds its platform without being told. */
const paste = async (script: string): Promise<string> =>
  await runOk('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: REPOSITORY,
    env: { TENANTRY_DATA_DIR: platform.dataDir, KEY: platform.ready.admin_key },
    timeoutMs: 120_000,
  });

describe('README', () => {
  it('its two sessions do what they say', async (context) => {
    skipWithout('psql', context);
    const sessions = blocks('sh').filter((block) => block.includes('$URI'));
    expect(sessions).toHaveLength(2);
    const output = await paste(sessions.join('\n'));
    expect(output).toContain('CREATE TABLE');
    expect(output).toMatch(/asleep|idle/);
    expect(output.match(/ 1 \| hello/g), 'inserted, after waking, in the branch and after the restore').toHaveLength(4);
    expect(output).toContain('DELETE 1');
    expect(output).toContain('DROP TABLE');
  });

  it("its lines for Neon's API client and command", async () => {
    const [client = ''] = blocks('js');
    const path = join(REPOSITORY, `node_modules/.readme-${process.pid}.mjs`);
    writeFileSync(path, client);
    expect(await paste(`node ${path}; rm ${path}`)).toMatch(/^postgresql:\/\/neondb_owner:/);
    const command = blocks('sh').find((block) => block.includes('npx neon')) ?? '';
    expect(await paste(command)).toContain('tenant-globex');
  });
});
