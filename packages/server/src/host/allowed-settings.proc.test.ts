import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LocalHost } from './local-host.ts';
import { addEndpoint, connectTenant, makeHost, makeTestBed, type TestBed } from './testing/test-host.ts';
import { ALLOWED_SETTINGS } from '../compute/allowed-settings.ts';

let bed: TestBed;
let host: LocalHost;

beforeAll(async () => {
  bed = makeTestBed();
  host = await makeHost(bed);
});

afterAll(async () => {
  await host.stopAll();
  bed.dispose();
});

test('every setting that a user may choose exists, is of the type noted, and applies when we say', async () => {
  const client = await connectTenant(host, await addEndpoint(host, 'allowed'));
  const { rows } = await client.query<{ name: string; context: string; vartype: string }>(
    'SELECT name, context, vartype FROM pg_settings WHERE lower(name) = ANY($1)',
    [Object.keys(ALLOWED_SETTINGS)],
  );
  await client.end();
  const live = Object.fromEntries(
    rows.map(({ name, context, vartype }) => [
      name.toLowerCase(),
      {
        applies: context === 'postmaster' ? 'restart' : 'reload',
        type: vartype === 'bool' ? 'boolean' : vartype === 'integer' || vartype === 'real' ? 'number' : 'text',
      },
    ]),
  );
  const ours = Object.fromEntries(
    Object.entries(ALLOWED_SETTINGS).map(([name, { applies, type }]) => [name, { applies, type }]),
  );
  expect(live).toEqual(ours);
});
