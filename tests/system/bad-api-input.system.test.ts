import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiFailure, TestProject } from '../support/api.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';

let platform: RunningPlatform;
let project: TestProject;
beforeAll(async () => {
  platform = await startPlatform();
  project = await platform.api.createProject({ name: 'the only one' });
});
afterAll(async () => {
  // Whatever was refused left nothing behind.
  const names = (await platform.api.projects()).map((p) => p.name);
  const roles = (await platform.api.roles(project)).map((r) => r.name);
  const databases = (await platform.api.databases(project)).map((d) => d.name);
  await platform[Symbol.asyncDispose]();
  expect({ names, roles, databases }).toEqual({
    names: ['the only one'],
    roles: ['neondb_owner'],
    databases: ['neondb'],
  });
});

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message?: RegExp;
}
const INVALID: Refusal = { status: 400, code: 'INVALID_REQUEST' };
const RESERVED: Refusal = { status: 400, code: 'RESERVED_NAME' };
const NOT_FOUND: Refusal = { status: 404, code: 'NOT_FOUND' };

async function expectRefusal(
  method: string,
  path: string,
  body: unknown,
  refusal: Refusal,
  headers = {},
): Promise<void> {
  const answer = await platform.api.request<ApiFailure>(method, path, body, { headers });
  const what = `${method} ${path} ${typeof body === 'string' ? body.slice(0, 80) : JSON.stringify(body)?.slice(0, 200)}`;
  expect({ what, status: answer.status, ...answer.body }).toMatchObject({
    what,
    status: refusal.status,
    code: refusal.code,
    message: expect.stringMatching(refusal.message ?? /\S/) as string,
    request_id: expect.stringMatching(/\S/) as string,
  });
}

describe('bad bodies', () => {
  const bodies: readonly [name: string, project: unknown, refusal: Refusal][] = [
    ['an unknown field', { bogus: 1 }, { ...INVALID, message: /bogus/ }],
    ['an unknown field inside', { branch: { bogus: 1 } }, { ...INVALID, message: /bogus/ }],
    ['a number for a name', { name: 5 }, { ...INVALID, message: /name/ }],
    ['an object for a name', { name: { a: 1 } }, { ...INVALID, message: /name/ }],
    ['an empty name', { name: '' }, { ...INVALID, message: /name/ }],
    ['a long name', { name: 'x'.repeat(257) }, { ...INVALID, message: /name/ }],
    ['a name with NUL', { name: 'a\u0000b' }, { ...INVALID, message: /name/ }],
    ['a string for a version', { pg_version: '17' }, { ...INVALID, message: /pg_version/ }],
    ['half a version', { pg_version: 17.5 }, { ...INVALID, message: /pg_version/ }],
    ['an old version', { pg_version: 13 }, { status: 400, code: 'UNKNOWN_PG_VERSION', message: /pg_version/ }],
    ['a version to come', { pg_version: 99 }, { status: 400, code: 'UNKNOWN_PG_VERSION', message: /pg_version/ }],
    ['a bad region', { region_id: 'Not A Region' }, { ...INVALID, message: /region_id/ }],
    ['a suspend timeout below all', { default_endpoint_settings: { suspend_timeout_seconds: -2 } }, INVALID],
    ['a suspend timeout above all', { default_endpoint_settings: { suspend_timeout_seconds: 604_801 } }, INVALID],
    ['a size that is none', { default_endpoint_settings: { autoscaling_limit_min_cu: 0.3 } }, INVALID],
    [
      'a range upside down',
      { default_endpoint_settings: { autoscaling_limit_min_cu: 2, autoscaling_limit_max_cu: 1 } },
      INVALID,
    ],
    [
      'a range too wide',
      { default_endpoint_settings: { autoscaling_limit_min_cu: 1, autoscaling_limit_max_cu: 16 } },
      INVALID,
    ],
    [
      'a setting that only the platform may set',
      { default_endpoint_settings: { pg_settings: { archive_command: 'id' } } },
      INVALID,
    ],
    [
      'a setting that does not exist',
      { default_endpoint_settings: { pg_settings: { no_such_setting: '1' } } },
      INVALID,
    ],
    [
      'a setting with a line break',
      { default_endpoint_settings: { pg_settings: { work_mem: "4MB\nfsync='off'" } } },
      INVALID,
    ],
    ['a reserved role', { branch: { role_name: 'cloud_admin' } }, RESERVED],
    ['a reserved database', { branch: { database_name: 'template1' } }, RESERVED],
    ['an empty role', { branch: { role_name: '' } }, INVALID],
    ['a long role', { branch: { role_name: 'r'.repeat(64) } }, INVALID],
    ['a role long in bytes', { branch: { role_name: 'é'.repeat(40) } }, INVALID],
    ['a null project', null, INVALID],
    ['a list for a project', [], INVALID],
    ['bad addresses', { settings: { allowed_ips: { ips: ['not an address'] } } }, INVALID],
    ['an unknown organization', { org_id: 'org-no-such-12345678' }, NOT_FOUND],
  ];
  for (const [name, body, refusal] of bodies) {
    it(`refuses ${name}`, async () => await expectRefusal('POST', '/projects', { project: body }, refusal));
  }

  it('refuses what is not JSON', async () => {
    for (const body of [
      '',
      '{',
      '{"project":{}',
      'null',
      '[]',
      '"x"',
      '{"project":{}}}',
      '\u0000',
      '{"project":{"name":"\\ud800"',
    ]) {
      await expectRefusal('POST', '/projects', body, INVALID);
    }
    await expectRefusal('POST', '/projects', '{"__proto__":{"a":1},"project":{}}', INVALID);
    await expectRefusal('POST', '/projects', Buffer.from([0xff, 0xfe, 0x00]), INVALID);
    await expectRefusal('POST', '/projects', undefined, INVALID);
  });

  it('refuses other content types and bodies too large', async () => {
    const form = await platform.api.request('POST', '/projects', 'a=b', {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    expect([400, 415]).toContain(form.status);
    // The server may close while the client still writes, which fetch shows as an error.
    const large = await platform.api
      .request('POST', '/projects', { project: { name: 'x'.repeat(4_000_000) } })
      .catch(() => ({ status: 413 }));
    expect([400, 413]).toContain(large.status);
  });
});

describe('bad names of roles and databases', () => {
  const base = (): string => `/projects/${project.id}/branches/${project.branchId}`;

  it('refuses reserved ones', async () => {
    for (const name of [
      'cloud_admin',
      'neon_superuser',
      'web_access',
      'pg_monitor',
      'pg_mine',
      'postgres',
      'public',
      'none',
    ]) {
      await expectRefusal('POST', `${base()}/roles`, { role: { name } }, RESERVED);
    }
    for (const name of ['postgres', 'template0', 'template1']) {
      await expectRefusal('POST', `${base()}/databases`, { database: { name, owner_name: 'neondb_owner' } }, RESERVED);
    }
  });

  it('refuses empty, over-long and unprintable ones', async () => {
    for (const name of ['', 'x'.repeat(64), 'a\u0000b', 'a\nb', 'é'.repeat(40)]) {
      await expectRefusal('POST', `${base()}/roles`, { role: { name } }, INVALID);
      await expectRefusal('POST', `${base()}/databases`, { database: { name, owner_name: 'neondb_owner' } }, INVALID);
    }
  });

  it('refuses what exists, what does not, and what is in use', async () => {
    const exists: Refusal = { status: 409, code: 'ALREADY_EXISTS' };
    await expectRefusal('POST', `${base()}/roles`, { role: { name: 'neondb_owner' } }, exists);
    await expectRefusal(
      'POST',
      `${base()}/databases`,
      { database: { name: 'neondb', owner_name: 'neondb_owner' } },
      exists,
    );
    const noOwner = await platform.api.request('POST', `${base()}/databases`, {
      database: { name: 'd', owner_name: 'nobody' },
    });
    expect([400, 404]).toContain(noOwner.status);
    await expectRefusal('GET', `${base()}/roles/nobody`, undefined, NOT_FOUND);
    await expectRefusal('DELETE', `${base()}/databases/nothing`, undefined, NOT_FOUND);
    await expectRefusal('PATCH', `${base()}/databases/nothing`, { database: { name: 'x' } }, NOT_FOUND);
    await expectRefusal('POST', `${base()}/roles/nobody/reset_password`, undefined, NOT_FOUND);
    const owner = await platform.api.request('DELETE', `${base()}/roles/neondb_owner`);
    expect(owner.status, 'deleting the owner of a database').toBeGreaterThanOrEqual(400);
    expect(owner.status).toBeLessThan(500);
  });

  it('takes names that only look dangerous', async () => {
    for (const name of [`o'brien "x" \\ ; DROP TABLE t; --`, 'ünïcode', 'select', '1st', '-x', '%s$1']) {
      await platform.api.createRole(project, name);
      await platform.api.createDatabase(project, name, name);
      await platform.api.call('DELETE', `${base()}/databases/${encodeURIComponent(name)}`);
      await platform.api.call('DELETE', `${base()}/roles/${encodeURIComponent(name)}`);
      await platform.api.settled(project.id);
    }
  });
});

describe('bad keys', () => {
  it('refuses missing, malformed and unknown ones', async () => {
    const unauthenticated: Refusal = { status: 401, code: 'UNAUTHENTICATED' };
    for (const authorization of [
      '',
      'Bearer',
      'Bearer ',
      'Bearer x',
      'Basic eDp5',
      `Bearer ${'x'.repeat(5000)}`,
      `Bearer napi_${'a'.repeat(48)}`,
    ]) {
      for (const path of ['/projects', `/projects/${project.id}`, '/users/me', '/regions', '/no/such/route']) {
        const answer = await platform.api.request<ApiFailure>('GET', path, undefined, { headers: { authorization } });
        expect({ path, authorization: authorization.slice(0, 20), status: answer.status }).toEqual({
          path,
          authorization: authorization.slice(0, 20),
          status: path === '/no/such/route' && answer.status === 404 ? 404 : 401,
        });
      }
      await expectRefusal('POST', '/projects', { project: {} }, unauthenticated, { authorization });
    }
  });
});

describe('bad addresses', () => {
  it('answers 404 for what is not there', async () => {
    for (const id of ['no-such-12345678', 'x', 'a'.repeat(60)]) {
      await expectRefusal('GET', `/projects/${id}`, undefined, NOT_FOUND);
      await expectRefusal('DELETE', `/projects/${id}`, undefined, NOT_FOUND);
    }
    await expectRefusal('GET', `/projects/${project.id}/branches/br-no-such-12345678`, undefined, NOT_FOUND);
    await expectRefusal('GET', `/projects/${project.id}/endpoints/ep-no-such-12345678`, undefined, NOT_FOUND);
    await expectRefusal('POST', `/projects/${project.id}/endpoints/ep-no-such-12345678/start`, undefined, NOT_FOUND);
    await expectRefusal(
      'GET',
      `/projects/${project.id}/operations/00000000-0000-4000-8000-000000000000`,
      undefined,
      NOT_FOUND,
    );
  });

  it('answers 4xx for what can be no id, no route and no query', async () => {
    for (const path of [
      '/projects/..%2f..%2fetc%2fpasswd',
      '/projects/A%20B',
      `/projects/${'a'.repeat(61)}`,
      `/projects/${project.id}/operations/1`,
      '/projects/%00',
      '/projects/%ff',
      '/nowhere',
      '/projects?limit=0',
      '/projects?limit=-1',
      '/projects?limit=401',
      '/projects?limit=many',
      '/projects?cursor=garbage',
      `/projects/${project.id}/operations?cursor=garbage`,
      `/projects/${project.id}/connection_uri`,
      `/projects/${project.id}/connection_uri?database_name=neondb&role_name=nobody`,
    ]) {
      const { status, body } = await platform.api.request<ApiFailure>('GET', path);
      expect(status, `${path}: ${JSON.stringify(body)}`).toBeGreaterThanOrEqual(400);
      expect(status, `${path}: ${JSON.stringify(body)}`).toBeLessThan(500);
      expect(body, path).toMatchObject({ code: expect.any(String) as string, message: expect.any(String) as string });
    }
    expect([404, 405]).toContain((await platform.api.request('PUT', '/projects')).status);
  });
});
