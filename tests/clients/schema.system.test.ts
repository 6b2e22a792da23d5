import { mkdtempSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { createApiClient, EndpointType } from '@neondatabase/api-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { must } from '../support/must.ts';
import { psql } from '../support/psql.ts';
import { runOk } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';

/** Schemas over the API and by Neon's command line, and branches that have nothing but a schema. */

let platform: RunningPlatform;
const home = mkdtempSync('/tmp/tenantry-schema-');
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(async () => {
  rmSync(home, { recursive: true, force: true });
  await platform?.[Symbol.asyncDispose]();
});

const TABLE = 'CREATE TABLE people (id serial PRIMARY KEY, name text)';
const NEON = resolve(import.meta.dirname, '../../node_modules/.bin/neon');
const endpoints = [{ type: EndpointType.ReadWrite }];

describe('the schema of a branch', () => {
  it('is read, compared, and branched without its rows', async () => {
    const neon = createApiClient({ apiKey: platform.ready.admin_key, baseURL: platform.ready.api_url });
    const { project, branch, connection_uris } = (await neon.createProject({ project: { name: 'schemas' } })).data;
    const projectId = project.id;
    const uri = must(connection_uris?.[0]).connection_uri;
    await psql(uri, `${TABLE}; INSERT INTO people (name) VALUES ('somebody')`);

    const child = (await neon.createProjectBranch(projectId, { branch: { name: 'child' }, endpoints })).data;
    await psql(must(child.connection_uris?.[0]).connection_uri, 'ALTER TABLE people ADD COLUMN age int');
    const ofChild = { projectId, branchId: child.branch.id, db_name: 'neondb' };
    const { sql } = (await neon.getProjectBranchSchema(ofChild)).data;
    expect(sql).toContain('    name text,\n    age integer\n);');
    const { diff } = (await neon.getProjectBranchSchemaComparison(ofChild)).data;
    expect(diff).toMatch(
      /^--- a\/neondb\n\+\+\+ b\/neondb\n@@ .*\n[^]*-    name text\n\+    name text,\n\+    age integer\n/,
    );
    const same = { ...ofChild, base_branch_id: child.branch.id };
    expect((await neon.getProjectBranchSchemaComparison(same)).data.diff).toBe('');
    await expect(neon.getProjectBranchSchema({ ...ofChild, db_name: 'none' })).rejects.toMatchObject({
      response: { status: 404 },
    });

    const words = ['branches', 'schema-diff', 'main', 'child', '--project-id', projectId, '--database', 'neondb'];
    const printed = await runOk(NEON, [...words, '--no-analytics', '--no-color', '--config-dir', home], {
      env: { NEON_API_HOST: platform.ready.api_url, NEON_API_KEY: platform.ready.admin_key, CI: '1' },
      cwd: home,
    });
    expect(printed).toContain('+    age integer');

    const bare = { name: 'bare', parent_id: branch.id, init_source: 'schema-only' };
    const made = (await neon.createProjectBranch(projectId, { branch: bare, endpoints })).data;
    const bareUri = must(made.connection_uris?.[0]).connection_uri;
    expect(await psql(bareUri, 'SELECT count(*) FROM people')).toBe('0');
    await psql(bareUri, "INSERT INTO people (name) VALUES ('first')");
    expect(await psql(bareUri, 'SELECT id, name FROM people')).toBe('1|first');
    expect(made.branch.parent_id).toBeUndefined();
  });
});
