import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestProject } from '../support/api.ts';
import { psql } from '../support/psql.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Runs the Postgres that the other keeps its metadata in: any would do. */
let provider: RunningPlatform;
let database: TestProject;
let platform: RunningPlatform;
beforeAll(async () => {
  provider = await startPlatform();
  database = await provider.api.createProject({ name: 'metadata' });
  await provider.api.updateEndpoint(database, { suspend_timeout_seconds: -1 });
  platform = await startPlatform({ env: { TENANTRY_DATABASE_URL: database.uri } });
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

describe('metadata in a Postgres of the operator', () => {
  it('does the main job, and has all again after a restart', async () => {
    expect(platform.ids().metadata).toBeNull();
    const project = await platform.api.createProject({ name: 'kept' });
    await psql(project.uri, 'CREATE TABLE t AS SELECT 42 AS n');
    await platform.api.suspend(project);
    expect(await psql(database.uri, 'SELECT name FROM projects')).toBe('kept');
    await platform.restart();
    expect((await platform.api.projects()).map(({ name }) => name)).toEqual(['kept']);
    expect(await psql(project.uri, 'SELECT n FROM t')).toBe('42');
  });

  it('waits for a database that went away, while tenants are served, and goes on with it', async () => {
    const [kept] = await platform.api.projects();
    const query = 'database_name=neondb&role_name=neondb_owner';
    const { uri } = await platform.api.call<{ uri: string }>('GET', `/projects/${kept?.id}/connection_uri?${query}`);
    await provider.api.updateEndpoint(database, { disabled: true });
    await waitUntil('no answer without metadata', async () => {
      const { status, body } = await platform.api.request<{ code: string }>('GET', '/projects');
      return status === 503 && body.code === 'METADATA_UNAVAILABLE';
    });
    expect(await psql(uri, 'SELECT n FROM t')).toBe('42');
    await provider.api.updateEndpoint(database, { disabled: false });
    await platform.untilHealthy();
    expect((await platform.api.projects()).map(({ name }) => name)).toEqual(['kept']);
    await platform.api.deleteProject(kept?.id ?? '');
  });
});
