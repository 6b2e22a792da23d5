import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { EndpointStore } from './endpoint-store.ts';
import { specOf } from './testing/test-host.ts';

test('what a killed host left half written of an endpoint goes; that a spec is missing is told', async () => {
  const path = await mkdtemp(join(tmpdir(), 'tenantry-endpoints-'));
  onTestFinished(() => rm(path, { recursive: true }));
  const store = new EndpointStore(path, pino({ level: 'silent' }));
  const spec = specOf('kept');
  await store.writeSpec(spec);
  // It holds verifiers.
  await writeFile(join(path, spec.endpointId, 'spec.json.0a1b2c3d.tmp'), 'half');
  expect(await store.tidy(spec.endpointId)).toEqual({ isRemoved: false });
  expect(await readdir(join(path, spec.endpointId))).toEqual(['spec.json']);
  await rm(join(path, spec.endpointId, 'spec.json'));
  expect(await store.tidy(spec.endpointId)).toEqual({ isRemoved: true });
});
