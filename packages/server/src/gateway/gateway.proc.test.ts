import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { Client, type ClientConfig } from 'pg';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { tryPsql } from '../../../../tests/support/psql.ts';
import { skipWithout } from '../../../../tests/support/tools.ts';
import { must } from '../kernel/assert.ts';
import { parseBackendKeyData } from '../pgwire/backend-messages.ts';
import { cstring, int32, message, packet } from '../pgwire/fields.ts';
import { cancelRequest, startupMessage } from '../pgwire/startup-packet.ts';
import { GSS_ENC_REQUEST, query, RawClient, SSL_REQUEST } from './testing/raw-client.ts';
import { ENDPOINT, startTestBed, type TestBed } from './testing/test-gateway.ts';

const PASSWORD = 'open sesame';
const OPTIONS = `endpoint=${ENDPOINT}`;

let bed: TestBed;
beforeAll(async () => {
  bed = await startTestBed({ max_connections: 150 });
});
afterAll(async () => {
  await bed[Symbol.asyncDispose]();
});
afterEach(async () => {
  bed.directory.put({ disabled: false, allowedIps: [] });
  await until(() => bed.sessions.opened === bed.sessions.closed);
  expect(bed.sessions.opened).toBe(bed.sessions.closed);
});

async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition()) && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
}

const uri = (
  query: Record<string, string>,
  { user = 'alice', password = PASSWORD, database = 'shop', host = 'localhost', port = bed.port } = {},
): string =>
  `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}/${database}?${Object.entries(
    query,
  )
    .map(([k, v]) => `${k}=${encodeURIComponent(v)}`)
    .join('&')}`;

/** Output of psql, or what it complains about. */
async function psql(connection: string, sql = 'select current_user, current_database()'): Promise<string> {
  const { code, stdout, stderr } = await tryPsql(connection, sql);
  return (code === 0 ? stdout : stderr).trim();
}

const config = (overrides: ClientConfig = {}): ClientConfig => ({
  host: '127.0.0.1',
  port: bed.port,
  user: 'alice',
  password: PASSWORD,
  database: 'shop',
  options: OPTIONS,
  ...overrides,
});

async function connectPg(overrides: ClientConfig = {}): Promise<Client> {
  const client = new Client(config(overrides));
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function selectOne(overrides: ClientConfig = {}): Promise<unknown> {
  const client = await connectPg(overrides);
  const { rows } = await client.query('select 1 as one');
  await client.end();
  return rows[0];
}

const aliceVerifier = async (): Promise<string> => must(bed.directory.entries.get(ENDPOINT)).roles['alice'] ?? '';

async function openSession(parameters: Record<string, string> = {}, port = bed.port): Promise<RawClient> {
  const client = await RawClient.open(port);
  await client.logIn(
    { user: 'alice', database: 'shop', options: OPTIONS, ...parameters },
    await aliceVerifier(),
    PASSWORD,
  );
  return client;
}

describe('real clients', () => {
  const ca = (): Record<string, string> => ({ sslrootcert: bed.certificates.caPath, sslmode: 'verify-full' });

  test.each([
    ['TLS and an option', () => uri({ sslmode: 'require', options: OPTIONS })],
    ['an option that stays percent-encoded', () => uri({ options: OPTIONS.replace('=', '%3D') })],
    ['verified TLS and channel binding', () => uri({ ...ca(), channel_binding: 'require', options: OPTIONS })],
    ['SNI', () => uri({ ...ca(), hostaddr: '127.0.0.1', channel_binding: 'require' }, { host: `${ENDPOINT}.db.test` })],
    ['SNI of the pooler', () => uri({ ...ca(), hostaddr: '127.0.0.1' }, { host: `${ENDPOINT}-pooler.db.test` })],
    [
      'SNI and an option',
      () => uri({ sslmode: 'require', hostaddr: '127.0.0.1', options: OPTIONS }, { host: `${ENDPOINT}.db.test` }),
    ],
    [
      'a name below localhost',
      () => uri({ ...ca(), hostaddr: '127.0.0.1', options: OPTIONS }, { host: 'ep-x.localhost' }),
    ],
    ['plaintext on loopback', () => uri({ sslmode: 'disable', options: OPTIONS })],
    [
      'the endpoint in the password',
      () => uri({ sslmode: 'require' }, { password: `endpoint=${ENDPOINT};${PASSWORD}` }),
    ],
    [
      'the endpoint in the password, with a dollar',
      () => uri({ sslmode: 'disable' }, { password: `endpoint=${ENDPOINT}$${PASSWORD}` }),
    ],
  ])('psql with %s', async (_, connection) => {
    expect(await psql(connection())).toBe('alice|shop');
  });

  test('psql sends its other options on', async () => {
    const connection = uri({ options: `${OPTIONS} -c DateStyle=ISO,\\ DMY --statement_timeout=7s neon_lsn:0/1` });
    expect(await psql(connection, 'show DateStyle; show statement_timeout')).toBe('ISO, DMY\n7s');
    expect(await psql(uri({ options: OPTIONS, application_name: 'checkout' }), 'show application_name')).toBe(
      'checkout',
    );
  });

  test('node-postgres, plain and by TLS with SNI', async () => {
    expect(await selectOne()).toEqual({ one: 1 });
    const ssl = { ca: bed.certificates.caPem, servername: `${ENDPOINT}.db.test` };
    const { options: _, ...rest } = config();
    expect(await selectOne({ ...rest, options: '', ssl, enableChannelBinding: true })).toEqual({ one: 1 });
  });

  test('postgres.js', async () => {
    const sql = postgres(uri({}), { max: 3, connection: { options: OPTIONS } });
    const rows = await Promise.all(Array.from({ length: 9 }, (_, i) => sql`select ${i}::int as i`));
    expect(rows.map(([row]) => row?.['i'])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    await sql.end();
  });

  test('a bulk load and a dump of it', async () => {
    const client = await connectPg();
    await client.query('create table bulk as select g, repeat(md5(g::text), 30) t from generate_series(1, 20000) g');
    const { rows } = await client.query<{ t: string }>('select t from bulk');
    expect(rows.reduce((sum, row) => sum + row.t.length, 0)).toBe(20_000 * 960);
    await client.end();
  });
});

describe('refusals', () => {
  const failure = async (overrides: ClientConfig): Promise<unknown> =>
    await selectOne(overrides).catch((error: unknown) => {
      const { message, code } = error as { message: string; code: string };
      return { message, code };
    });

  const WRONG = { message: "password authentication failed for user 'alice'", code: 'XX000' };
  const BLOCKED = { message: "You've exceeded the rate limit. Please wait a moment and try again.", code: 'XX000' };

  test('wrong password, unknown role and unknown role of a sleeping compute read the same', async () => {
    const text = (user: string): unknown => ({
      message: `password authentication failed for user '${user}'`,
      code: 'XX000',
    });
    expect(await failure({ password: 'wrong' })).toEqual(text('alice'));
    expect(await failure({ user: 'nobody' })).toEqual(text('nobody'));
    expect(await failure({ user: '__proto__' })).toEqual(text('__proto__'));
    await bed.broker.suspend();
    expect(await failure({ user: 'nobody' })).toEqual(text('nobody'));
    expect(await failure({ password: 'wrong' })).toEqual(text('alice'));
    expect(bed.postgres.isRunning).toBe(false);
  });

  test('the same salt is shown for an unknown role each time, as for a real one', async () => {
    const salt = async (user: string): Promise<string> => {
      const client = await RawClient.open(bed.port);
      client.send(
        startupMessage([
          ['user', user],
          ['options', OPTIONS],
        ]),
      );
      await client.message();
      client.send(message('p', cstring('SCRAM-SHA-256'), int32(11), Buffer.from('n,,n=,r=abc')));
      const challenge = must(await client.message()).body.toString();
      client.socket.destroy();
      return challenge.slice(challenge.indexOf(',s='));
    };
    expect(await salt('nobody')).toBe(await salt('nobody'));
    expect(await salt('nobody')).toMatch(/^,s=[A-Za-z0-9+/]{22}==,i=4096$/);
    expect(await salt('alice')).toMatch(/^,s=[A-Za-z0-9+/]{22}==,i=4096$/);
  });

  test('a role made by SQL logs in at once, without the directory', async () => {
    await selectOne();
    await bed.postgres.admin("create role bob login password 'by sql'");
    expect(await selectOne({ user: 'bob', password: 'by sql', database: 'postgres' })).toEqual({ one: 1 });
  });

  test('a password changed by SQL works at the second try, the old one no longer; a pool that has it is not blocked', async () => {
    await selectOne();
    await bed.postgres.admin("alter role alice password 'changed'");
    const pool = await Promise.all(Array.from({ length: 20 }, () => failure({ password: 'changed' })));
    expect(pool[0]).toMatchObject(WRONG);
    await until(
      async () => (await failure({ password: 'changed' }).then((result) => JSON.stringify(result))) === '{"one":1}',
    );
    expect(await selectOne({ password: 'changed' })).toEqual({ one: 1 });
    expect(await failure({})).toMatchObject(WRONG);
    await bed.postgres.admin(`alter role alice password '${PASSWORD}'`);
    bed.directory.put({ roles: { alice: must(await bed.postgres.verifierOf('alice')) } });
    expect(await selectOne()).toEqual({ one: 1 });
  });

  test('a password that the compute learns a moment after the directory', async () => {
    await bed.postgres.admin("create role carol login password 'old'");
    const old = must(await bed.postgres.verifierOf('carol'));
    await bed.postgres.admin("alter role carol password 'new'");
    const roles = {
      ...must(bed.directory.entries.get(ENDPOINT)).roles,
      carol: must(await bed.postgres.verifierOf('carol')),
    };
    bed.directory.put({ roles });
    await bed.postgres.admin(`alter role carol password '${old}'`);
    const connected = selectOne({ user: 'carol', password: 'new' });
    await new Promise((resolve) => setTimeout(resolve, 200));
    await bed.postgres.admin(`alter role carol password '${roles.carol}'`);
    expect(await connected).toEqual({ one: 1 });
  });

  test.each([
    ['no endpoint', { options: '' }, /^Endpoint ID is not specified\. Either please upgrade/, 'XX000'],
    ['unknown endpoint', { options: 'endpoint=ep-none' }, /^The requested endpoint could not be found/, 'XX000'],
    ['bad endpoint', { options: 'endpoint=ep_x!' }, /^Project name \('ep_x!'\) must contain only/, 'XX000'],
    ['the platform role', { user: 'cloud_admin', password: 'admin' }, /is protected/, 'XX000'],
    ['unknown database', { database: 'none' }, /^database "none" does not exist$/, '3D000'],
    ['bad parameter', { options: `${OPTIONS} -c no_such_thing=1` }, /unrecognized configuration parameter/, '42704'],
  ])('%s', async (_, overrides, text, code) => {
    const error = await failure(overrides);
    expect(error).toEqual({ message: expect.stringMatching(text), code });
  });

  test('no user, two endpoints, another domain', async () => {
    const client = await RawClient.open(bed.port);
    client.send(startupMessage([['database', 'shop']]));
    expect((await client.error()).message).toBe("Parameter 'user' is missing in startup packet.");
    const two = uri({ sslmode: 'require', hostaddr: '127.0.0.1', options: 'endpoint=ep-b' }, { host: 'ep-a.db.test' });
    expect(await psql(two)).toContain(
      "Inconsistent project name inferred from SNI ('ep-a') and project option ('ep-b').",
    );
    const foreign = uri({ sslmode: 'require', hostaddr: '127.0.0.1' }, { host: `${ENDPOINT}.example.com` });
    expect(await psql(foreign)).toContain('Endpoint ID is not specified');
  });

  test('a disabled endpoint, after authentication only, and an address that is not allowed', async () => {
    bed.directory.put({ disabled: true });
    expect(await failure({ password: 'wrong' })).toMatchObject(WRONG);
    expect(await failure({})).toMatchObject({ message: expect.stringMatching(/^The endpoint has been disabled/) });
    bed.directory.put({ disabled: false, allowedIps: ['10.0.0.0/8'] });
    expect(await failure({})).toMatchObject({
      message: expect.stringMatching(/^This IP address 127\.0\.0\.1 is not allowed/),
    });
    bed.directory.put({ allowedIps: ['127.0.0.0-127.0.0.9'] });
    expect(await selectOne()).toEqual({ one: 1 });
  });

  describe('guessed passwords', () => {
    /** Two workers of eight, and an endpoint that no other test fails to log in to. */
    const arrange = async (endpointId: string) => {
      bed.directory.put({ endpointId, roles: must(bed.directory.entries.get(ENDPOINT)).roles });
      const workers = await Promise.all([3, 4].map((workerIndex) => bed.addGateway({ workerIndex, workers: 8 })));
      return async (i: number, password: string): Promise<unknown> =>
        await failure({ port: must(workers[i % 2]).port, options: `endpoint=${endpointId}`, password });
    };

    test('ten block the address for the endpoint, whichever workers they came to', async () => {
      const guess = await arrange('ep-guessed');
      for (let i = 0; i < 10; i++) expect(await guess(i, 'wrong')).toEqual(WRONG);
      for (let i = 0; i < 2; i++) expect(await guess(i, PASSWORD)).toEqual(BLOCKED);
      expect(await selectOne()).toEqual({ one: 1 });
    });

    test('of a hundred at once over two workers ten at most are judged', async () => {
      const guess = await arrange('ep-guessed-at-once');
      const answers = await Promise.all(Array.from({ length: 100 }, async (_, i) => await guess(i, 'wrong')));
      const refused = answers.filter((answer) => (answer as { message: string }).message !== WRONG.message);
      expect(refused).toEqual(refused.map(() => BLOCKED));
      expect(refused.length).toBeGreaterThanOrEqual(90);
    });
  });

  const address = Object.values(networkInterfaces())
    .flat()
    .find((each) => each?.family === 'IPv4' && !each.internal)?.address;
  test.skipIf(address === undefined)('plaintext from another address, whatever the version', async () => {
    for (const version of [(3 << 16) | 0, (3 << 16) | 1, (3 << 16) | 9999, 2 << 16, 4 << 16]) {
      const client = await RawClient.open(bed.port, address);
      client.send(packet(int32(version), cstring('user'), cstring('alice'), Buffer.alloc(1)));
      expect((await client.error()).message).toBe('connection is insecure (try using `sslmode=require`)');
    }
    expect(await psql(uri({ sslmode: 'require', options: OPTIONS }, { host: must(address) }))).toBe('alice|shop');
  });
});

describe('bad input', () => {
  const silent = async (...bytes: readonly Buffer[]): Promise<string> => {
    const client = await RawClient.open(bed.port);
    return (await client.send(...bytes).rest()).toString('latin1');
  };

  test.each([
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['a startup packet of 11 kB', startupMessage([['user', 'u'.repeat(11_000)]])],
    ['length 7', int32(7)],
    ['a negative length', int32(-5)],
    ['a length of 2 GB', int32(0x7fffffff)],
    ['a layout without terminator', packet(int32(3 << 16), Buffer.from('user\0u'))],
    ['a cancel request without key', packet(int32((1234 << 16) | 5678), int32(1))],
    ['zeros', Buffer.alloc(64)],
  ])('%s is closed in silence', async (_, bytes) => {
    expect(await silent(bytes)).toBe('');
  });

  test('versions 2 and 4, and a second SSLRequest inside TLS, get the words of Postgres', async () => {
    expect(await silent(packet(int32(2 << 16), Buffer.alloc(20)))).toBe(
      'EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.2\n\0',
    );
    expect(await silent(packet(int32(4 << 16), Buffer.alloc(1)))).toContain('C0A000');
    const client = await RawClient.open(bed.port);
    client.send(SSL_REQUEST);
    expect(await client.byte()).toBe('S');
    await client.startTls();
    client.send(SSL_REQUEST);
    expect(await client.error()).toMatchObject({ sqlstate: '0A000' });
  });

  test('protocol 3.2 gets a long cancel key, newer ones are negotiated down, 3.0 gets 4 bytes', async () => {
    const versioned = async (minor: number, ...names: readonly string[]): Promise<string> => {
      const client = await RawClient.open(bed.port);
      const fields = ['user', 'alice', ...names.flatMap((name) => [name, ''])].map(cstring);
      client.send(packet(int32((3 << 16) | minor), ...fields, cstring('options'), cstring(OPTIONS), Buffer.alloc(1)));
      const frame = must(await client.message());
      client.socket.destroy();
      return frame.type === 'v' ? `v${frame.body.readUInt16BE(2)}:${frame.body.readInt32BE(4)}` : frame.type;
    };
    expect(await versioned(0)).toBe('R');
    expect(await versioned(2)).toBe('R');
    expect(await versioned(3)).toBe('v2:0');
    expect(await versioned(9999, '_pq_.test_protocol_negotiation')).toBe('v2:1');
    expect(await versioned(0, '_pq_.x')).toBe('v0:1');
    const session = await openSession();
    for (let frame = await session.message(); frame; frame = await session.message()) {
      if (frame.type === 'K') expect(parseBackendKeyData(frame.body).secret).toHaveLength(4);
      if (frame.type === 'Z') break;
    }
    session.socket.destroy();
  });

  test('GSSENCRequest is declined once, then SSLRequest works; a second one is no protocol', async () => {
    const client = await RawClient.open(bed.port);
    client.send(GSS_ENC_REQUEST);
    expect(await client.byte()).toBe('N');
    client.send(SSL_REQUEST);
    expect(await client.byte()).toBe('S');
    await client.startTls();
    client.socket.destroy();
    const twice = await RawClient.open(bed.port);
    twice.send(GSS_ENC_REQUEST, GSS_ENC_REQUEST);
    expect(await twice.byte()).toBe('N');
    expect(await twice.error()).toMatchObject({ sqlstate: '0A000' });
  });

  test('plaintext behind SSLRequest is never taken as protocol (CVE-2021-23214)', async () => {
    const client = await RawClient.open(bed.port);
    client.send(
      Buffer.concat([
        SSL_REQUEST,
        startupMessage([
          ['user', 'alice'],
          ['options', OPTIONS],
        ]),
      ]),
    );
    expect(await client.byte()).toBe('S');
    const rest = await client.rest();
    expect(rest.toString('latin1')).not.toContain('SCRAM');
  });

  test('direct TLS needs ALPN, and another protocol is refused with and without SSLRequest', async () => {
    const right = await RawClient.open(bed.port);
    await right.startTls({ ALPNProtocols: ['postgresql'] });
    right.send(
      startupMessage([
        ['user', 'alice'],
        ['options', OPTIONS],
      ]),
    );
    expect((await right.message())?.body.toString()).toContain('SCRAM-SHA-256-PLUS');
    right.socket.destroy();
    const without = await RawClient.open(bed.port);
    await without.startTls();
    expect(await without.rest()).toHaveLength(0);
    const other = await RawClient.open(bed.port);
    await expect(other.startTls({ ALPNProtocols: ['h2'] })).rejects.toThrow(/alert|reset|disconnected/);
    const asked = await RawClient.open(bed.port);
    asked.send(SSL_REQUEST);
    expect(await asked.byte()).toBe('S');
    await expect(asked.startTls({ ALPNProtocols: ['h2'] })).rejects.toThrow(/alert|reset|disconnected/);
  });

  test.each([-1, 0x7fffffff, 500, -0x80000000])(
    'a SASL message with inner length %i (CVE-2026-6664)',
    async (length) => {
      const client = await RawClient.open(bed.port);
      client.send(
        startupMessage([
          ['user', 'alice'],
          ['options', OPTIONS],
        ]),
      );
      await client.message();
      client.send(message('p', cstring('SCRAM-SHA-256'), int32(length), Buffer.from('n,,n=,r=abc')));
      expect(await client.error()).toMatchObject({ severity: 'FATAL', sqlstate: '08P01' });
      expect(await client.rest()).toHaveLength(0);
    },
  );

  test('a SASL message over 1 kB, a password over 8 kB, a query instead of either', async () => {
    const after = async (options: string, bytes: Buffer): Promise<string> => {
      const client = await RawClient.open(bed.port);
      client.send(
        startupMessage([
          ['user', 'alice'],
          ['options', options],
        ]),
      );
      await client.message();
      return (await client.send(bytes).error()).sqlstate;
    };
    expect(await after(OPTIONS, message('p', Buffer.alloc(1025)))).toBe('08P01');
    expect(await after('', message('p', Buffer.alloc(8193)))).toBe('08P01');
    expect(await after(OPTIONS, query('select 1'))).toBe('08P01');
  });

  test('silence, half a packet and half a handshake end at the deadline', async () => {
    const { port } = await bed.addGateway({ workerIndex: 5, workers: 8, loginTimeoutMs: 300 });
    const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.open(port)));
    const [, half, tls, started, direct] = clients;
    half?.send(startupMessage([['user', 'alice']]).subarray(0, 9));
    tls?.send(SSL_REQUEST);
    started?.send(
      startupMessage([
        ['user', 'alice'],
        ['options', OPTIONS],
      ]),
    );
    direct?.send(Buffer.of(0x16, 3, 1));
    const startedAt = Date.now();
    await Promise.all(clients.map((client) => client.rest()));
    expect(Date.now() - startedAt).toBeLessThan(3_000);
  });

  test('clients that fail give their place in login back', async () => {
    const kinds = [
      Buffer.from('GET / HTTP/1.1'),
      Buffer.concat([SSL_REQUEST, Buffer.from('no TLS')]),
      Buffer.of(0x16, 0, 0, 0, 0, 0),
    ];
    for (const bytes of kinds) {
      await Promise.all(
        Array.from({ length: 150 }, async () => {
          const client = await RawClient.open(bed.port);
          await client.send(bytes).rest();
          client.socket.destroy();
        }),
      );
    }
    const leaving = await Promise.all(Array.from({ length: 300 }, () => RawClient.open(bed.port)));
    for (const client of leaving) client.socket.destroy();
    expect(await selectOne()).toEqual({ one: 1 });
  });

  test('a login sent one byte at a time', async () => {
    const client = await RawClient.open(bed.port);
    for (const byte of startupMessage([
      ['user', 'alice'],
      ['options', OPTIONS],
    ])) {
      client.send(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await client.message())?.type).toBe('R');
    client.socket.destroy();
  });
});

describe('waking', () => {
  test('a sleeping compute is started by the connect', async () => {
    await bed.broker.suspend();
    const { starts } = bed.postgres;
    expect(await selectOne()).toEqual({ one: 1 });
    expect(bed.postgres.starts).toBe(starts + 1);
  });

  test('1,000 clients in one moment: one start, no error', async () => {
    await bed.broker.suspend();
    const { starts } = bed.postgres;
    const ssl = { ca: bed.certificates.caPem, servername: `${ENDPOINT}.db.test` };
    const results = await Promise.allSettled(
      Array.from({ length: 1000 }, (_, i) => selectOne(i % 4 === 0 ? { ssl, options: '' } : {})),
    );
    const errors = results.filter((result) => result.status === 'rejected').map(({ reason }) => String(reason));
    expect(errors).toEqual([]);
    expect(bed.postgres.starts).toBe(starts + 1);
  });

  test('500 connects race with suspends: no error', async () => {
    // Only the connect must not fail; a session that a shutdown meets later ends as it does without us.
    const connectOnly = async (): Promise<void> => await (await connectPg()).end().catch(() => {});
    // In the time that a start takes here, or a slow machine would never let anyone in.
    await bed.broker.suspend();
    const began = performance.now();
    await connectOnly();
    const coldMs = performance.now() - began;
    const over = new AbortController();
    const suspender = (async () => {
      while (!over.signal.aborted) {
        await until(() => bed.postgres.isRunning);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 2 * coldMs));
        await bed.broker.suspend();
      }
    })();
    try {
      for (let i = 0; i < 50; i++) await Promise.all(Array.from({ length: 10 }, connectOnly));
    } finally {
      over.abort();
      await bed.broker.acquire();
      await suspender;
    }
  });

  test('a compute that is full for a moment is waited for; one that stays full has the last word', async () => {
    await bed.broker.acquire();
    await bed.postgres.admin('alter role alice connection limit 1');
    try {
      const holder = await connectPg();
      const waiting = selectOne();
      setTimeout(() => void holder.end(), 300);
      expect(await waiting).toEqual({ one: 1 });
      const last = await connectPg();
      await expect(selectOne()).rejects.toMatchObject({
        code: '53300',
        message: 'too many connections for role "alice"',
      });
      await last.end();
    } finally {
      await bed.postgres.admin('alter role alice connection limit -1');
    }
  });

  test('a client that leaves while the compute starts leaves nothing behind', async () => {
    await bed.broker.suspend();
    const client = await openSession();
    client.socket.destroy();
    await until(() => bed.postgres.isRunning);
    await until(
      async () => (await bed.postgres.admin("select 1 from pg_stat_activity where usename = 'alice'")).length === 0,
    );
    expect(await bed.postgres.admin("select 1 from pg_stat_activity where usename = 'alice'")).toEqual([]);
  });
});

describe('sessions', () => {
  test('cancel from node-postgres stops the query and nothing else', async () => {
    const [victim, bystander] = await Promise.all([connectPg(), connectPg()]);
    const long = victim.query('select pg_sleep(30)').catch((error: unknown) => (error as { code: string }).code);
    const calm = bystander.query('select pg_sleep(0.5), 7 as seven');
    await until(
      async () =>
        (
          await bed.postgres.admin(
            "select 1 from pg_stat_activity where query like '%pg_sleep(30)%' and state = 'active' and usename = 'alice'",
          )
        ).length > 0,
    );
    const { processID, secretKey } = victim as unknown as { processID: number; secretKey: number };
    const secret = int32(secretKey);
    for (const wrong of [
      { processId: processID, secret: int32(secretKey + 1) },
      { processId: processID + 1, secret },
    ]) {
      const client = await RawClient.open(bed.port);
      expect(await client.send(cancelRequest(wrong)).rest()).toHaveLength(0);
    }
    const client = await RawClient.open(bed.port);
    expect(await client.send(cancelRequest({ processId: processID, secret })).rest()).toHaveLength(0);
    expect(await long).toBe('57014');
    expect((await calm).rows[0]).toMatchObject({ seven: 7 });
    expect((await victim.query('select 1 as one')).rows[0]).toEqual({ one: 1 });
    await Promise.all([victim.end(), bystander.end()]);
  });

  test('cancel from psql stops the query', async (context) => {
    skipWithout('psql', context);
    const child = spawn('psql', ['-X', '-c', 'select pg_sleep(30)', uri({ sslmode: 'require', options: OPTIONS })]);
    let complaint = '';
    child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    await until(
      async () =>
        (
          await bed.postgres.admin(
            "select 1 from pg_stat_activity where query like '%pg_sleep(30)%' and state = 'active' and usename = 'alice'",
          )
        ).length > 0,
    );
    child.kill('SIGINT');
    await once(child, 'exit');
    expect(complaint).toContain('canceling statement due to user request');
  });

  test('a cancel reaches the session through any worker', async () => {
    const [one, two] = await Promise.all([
      bed.addGateway({ workerIndex: 1, workers: 8 }),
      bed.addGateway({ workerIndex: 2, workers: 8 }),
    ]);
    const victim = await connectPg({ port: one.port });
    const long = victim.query('select pg_sleep(31)').catch((error: unknown) => (error as { code: string }).code);
    await until(
      async () =>
        (
          await bed.postgres.admin(
            "select 1 from pg_stat_activity where query like '%pg_sleep(31)%' and state = 'active' and usename = 'alice'",
          )
        ).length > 0,
    );
    const { processID, secretKey } = victim as unknown as { processID: number; secretKey: number };
    expect(processID % 8).toBe(1);
    const client = await RawClient.open(two.port);
    await client.send(cancelRequest({ processId: processID, secret: int32(secretKey) })).rest();
    expect(await long).toBe('57014');
    await victim.end();
  });

  test('sixty cancels with keys that nobody has, over all workers, and the address may cancel its own only', async () => {
    const [one, two] = await Promise.all([1, 2].map((workerIndex) => bed.addGateway({ workerIndex, workers: 8 })));
    const ports = [must(one).port, must(two).port];
    const cancel = async (port: number | undefined, processId: number, secret: Buffer): Promise<void> => {
      const client = await RawClient.open(must(port));
      await client.send(cancelRequest({ processId, secret })).rest();
    };
    const victim = await connectPg({ port: must(ports[0]) });
    const { processID, secretKey } = victim as unknown as { processID: number; secretKey: number };
    const sleep = async (seconds: number): Promise<{ readonly isCanceled: Promise<boolean> }> => {
      const isCanceled = victim.query(`select pg_sleep(${seconds})`).then(
        () => false,
        () => true,
      );
      await until(
        async () =>
          (
            await bed.postgres.admin(
              `select 1 from pg_stat_activity where query = 'select pg_sleep(${seconds})' and wait_event = 'PgSleep'`,
            )
          ).length > 0,
      );
      return { isCanceled };
    };
    const own = async (port: number | undefined): Promise<void> => await cancel(port, processID, int32(secretKey));
    // More than the misses that are allowed at once: those that hit cost nothing.
    for (let i = 0; i < 50; i++) await own(ports[1]);
    const first = await sleep(30);
    await own(ports[1]);
    expect(await first.isCanceled).toBe(true);
    // Keys of worker 1, 2 and 5, which is not there.
    for (let i = 0; i < 60; i++) await cancel(ports[i % 2], 8 * (i + 1) + ([1, 2, 5][i % 3] ?? 1), int32(i));
    const second = await sleep(2);
    await cancel(ports[1], 8, int32(0));
    await own(ports[1]);
    expect(await second.isCanceled).toBe(false);
    const third = await sleep(30);
    await own(ports[0]);
    expect(await third.isCanceled).toBe(true);
    await victim.end();
  });

  test('a query sent ahead of the login, then half close: all results come', async () => {
    const client = await openSession();
    client.send(query("select repeat('x', 100) from generate_series(1, 50000)"));
    client.socket.end();
    expect(await client.typesUntil('T')).toMatch(/^R[SN]+KZT$/);
    expect(await client.typesUntil('C')).toBe(`${'D'.repeat(50_000)}C`);
    expect(await client.typesUntil('.')).toBe('Z.');
  });

  test('a reader that stops is not buffered for', async () => {
    const client = await openSession();
    await client.typesUntil('Z');
    const before = process.memoryUsage.rss();
    client.socket.pause();
    client.send(query("select repeat('x', 1000) from generate_series(1, 200000)"));
    await until(
      async () =>
        (
          await bed.postgres.admin(
            "select 1 from pg_stat_activity where usename = 'alice' and wait_event = 'ClientWrite'",
          )
        ).length > 0,
    );
    expect(process.memoryUsage.rss() - before).toBeLessThan(60 * 1024 * 1024);
    client.socket.resume();
    expect((await client.typesUntil('Z')).length).toBe(200_003);
    client.socket.destroy();
  });

  test('a backend that is ended or killed says its last, then the client is closed', async () => {
    const ended = await openSession();
    await ended.typesUntil('Z');
    await bed.postgres.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'");
    expect((await ended.error()).sqlstate).toBe('57P01');
    expect(await ended.rest()).toHaveLength(0);
    const killed = await openSession();
    await killed.typesUntil('Z');
    killed.send(query("select 'last words', pg_sleep(0)"));
    await killed.typesUntil('Z');
    await bed.broker.suspend('SIGQUIT');
    await killed.rest();
    ended.socket.destroy();
    killed.socket.destroy();
    expect(await selectOne()).toEqual({ one: 1 });
  });

  test('a reset by the client ends the session of the compute', async () => {
    const client = await openSession();
    await client.typesUntil('Z');
    client.socket.resetAndDestroy();
    await until(
      async () => (await bed.postgres.admin("select 1 from pg_stat_activity where usename = 'alice'")).length === 0,
    );
    expect(await bed.postgres.admin("select 1 from pg_stat_activity where usename = 'alice'")).toEqual([]);
  });

  test('a stopping gateway gives grace, then ends sessions with 57P01', async () => {
    const { gateway, port } = await bed.addGateway({ workerIndex: 6, workers: 8, drainMs: 300 });
    const idle = await openSession({}, port);
    await idle.typesUntil('Z');
    const busy = await connectPg({ port });
    const work = busy.query('select pg_sleep(0.2), 1 as one');
    const stopped = gateway.stop();
    expect((await work).rows[0]).toMatchObject({ one: 1 });
    await busy.end();
    expect((await idle.error()).sqlstate).toBe('57P01');
    expect(await idle.rest()).toHaveLength(0);
    idle.socket.destroy();
    await stopped;
    await expect(selectOne({ port })).rejects.toThrow('ECONNREFUSED');
  });
});

test('one connect costs one look-up and one acquire', async () => {
  await selectOne();
  const { finds } = bed.directory;
  const { acquires } = bed.broker;
  await selectOne();
  expect(bed.directory.finds - finds).toBe(1);
  expect(bed.broker.acquires - acquires).toBe(1);
});
