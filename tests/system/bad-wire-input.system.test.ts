import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestProject } from '../support/api.ts';
import { visit } from '../support/clients.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { withDatabase, withRole } from '../support/uri.ts';
import {
  cancelRequest,
  exchange,
  findError,
  GSS_REQUEST,
  message,
  openSocket,
  SSL_REQUEST,
  startupPacket,
} from '../support/wire.ts';

let platform: RunningPlatform;
let project: TestProject;
let gateway: number;
beforeAll(async () => {
  platform = await startPlatform();
  project = await platform.api.createProject({ name: 'wire' });
  await platform.api.suspend(project);
  gateway = platform.pidOf('gateway');
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const startup = (more: Record<string, string> = {}): Buffer =>
  startupPacket({ user: 'neondb_owner', database: 'neondb', options: `endpoint=${project.endpointId}`, ...more });

const int32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => bytes.writeInt32BE(value | 0, i * 4));
  return bytes;
};

/** What the gateway answered, and whether it closed. */
async function send(...parts: Uint8Array[]) {
  const { received, closed } = await exchange(platform.pgPort, Buffer.concat(parts), 1_000);
  return { error: findError(received), text: received.toString('latin1'), closed };
}

describe('bytes that are no login', () => {
  const silent: readonly [name: string, bytes: Buffer][] = [
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['random bytes', Buffer.concat([Buffer.from([0x7f]), randomBytes(4096)])],
    ['zeros', Buffer.alloc(64)],
    ['a length of 7', int32(7, 196_608)],
    ['a negative length', int32(-1, 196_608)],
    ['a length of 2 GB', int32(0x7fff_ffff, 196_608)],
    ['a packet of 11 kB', startupPacket({ user: 'x', application_name: 'a'.repeat(11_000) })],
    [
      '11 kB behind TLS request',
      Buffer.concat([SSL_REQUEST, startupPacket({ user: 'x', application_name: 'a'.repeat(11_000) })]),
    ],
    [
      'plaintext behind a TLS request',
      Buffer.concat([SSL_REQUEST, startupPacket({ user: 'neondb_owner', database: 'neondb' })]),
    ],
    ['two TLS requests', Buffer.concat([SSL_REQUEST, SSL_REQUEST])],
    ['a cancel of nobody', cancelRequest(4711, 4712)],
    ['a short cancel', int32(12, 80_877_102, 1)],
  ];
  for (const [name, bytes] of silent) {
    it(`closes on ${name} without a word of login`, async () => {
      const { text, closed } = await send(bytes);
      expect(closed, `closed; it said ${JSON.stringify(text)}`).toBe(true);
      expect(text).not.toContain('SCRAM');
    });
  }

  it('answers N to GSS encryption and goes on', async () => {
    const { text } = await send(GSS_REQUEST, startup());
    expect(text.startsWith('N')).toBe(true);
    expect(text).toContain('SCRAM-SHA-256');
  });

  it('refuses protocols 2 and 4, and talks a client of 3.2 down', async () => {
    expect((await send(startupPacket({ user: 'x' }, 0x0002_0000))).text).toMatch(/^E.*unsupported frontend protocol/s);
    expect((await send(startupPacket({ user: 'x' }, 0x0004_0000))).error).toMatchObject({
      severity: 'FATAL',
      sqlstate: '0A000',
    });
    const grease = startupPacket(
      { user: 'neondb_owner', database: 'neondb', options: `endpoint=${project.endpointId}`, '_pq_.test': '1' },
      0x0003_270f,
    );
    const { text } = await send(grease);
    expect(text.startsWith('v')).toBe(true);
    expect(text).toContain('SCRAM-SHA-256');
  });

  it('ends half a startup packet and silence after its deadline, not before', async () => {
    const hello = Buffer.concat([Buffer.from([0x16, 0x03, 0x01, 0x40, 0x00]), randomBytes(200)]);
    const halves = [
      Buffer.alloc(0),
      startup().subarray(0, 5),
      startup().subarray(0, 40),
      SSL_REQUEST,
      startup(),
      hello,
    ];
    const outcomes = await Promise.all(halves.map(async (bytes) => await exchange(platform.pgPort, bytes, 25_000)));
    for (const { closed, elapsedMs } of outcomes) {
      expect(closed).toBe(true);
      expect(elapsedMs).toBeGreaterThan(5_000);
      expect(elapsedMs).toBeLessThan(20_000);
    }
  });

  it('serves others while 500 sockets sit silent', async () => {
    const sockets = await Promise.all(Array.from({ length: 500 }, async () => await openSocket(platform.pgPort)));
    for (const socket of sockets) socket.write(startup().subarray(0, 6));
    const began = performance.now();
    const inTime = await visit(project.uri);
    console.log(
      `first row beside 500 silent sockets of the same address: ${(performance.now() - began).toFixed(0)} ms`,
    );
    expect(inTime.error).toBeUndefined();
    for (const socket of sockets) socket.destroy();
    await platform.api.suspend(project);
  });
});

describe('logins that are wrong', () => {
  it('names what is wrong in the words of Neon', async () => {
    const cases: readonly [Record<string, string>, RegExp][] = [
      [{ user: '' }, /Parameter 'user' is missing in startup packet\./],
      [{ options: '' }, /password|Endpoint ID is not specified/],
      [{ options: 'endpoint=Bad_Name!' }, /must contain only alphanumeric characters and hyphen/],
      [{ options: 'endpoint=ep-no-such-12345678' }, /could not be found|password authentication failed/],
    ];
    for (const [parameters, expected] of cases) {
      const { error, text } = await send(startup(parameters));
      if (parameters['options'] === '') expect(text.startsWith('R'), 'asks for the password').toBe(true);
      else expect(`${error?.sqlstate} ${error?.message}`).toMatch(expected);
    }
  });

  it('refuses wrong password, unknown role and unknown endpoint without waking', async () => {
    const wrongPassword = await tryPsql(withRole(project.uri, 'neondb_owner', 'wrong'), 'SELECT 1');
    const unknownRole = await tryPsql(withRole(project.uri, 'nobody', 'wrong'), 'SELECT 1');
    const unknownEndpoint = await tryPsql(project.uri.replace(project.endpointId, 'ep-no-such-12345678'), 'SELECT 1');
    expect(wrongPassword.stderr).toContain(`password authentication failed for user 'neondb_owner'`);
    expect(unknownRole.stderr).toContain(`password authentication failed for user 'nobody'`);
    expect(unknownEndpoint.code).not.toBe(0);
    expect(platform.compute(project.branchId)).toBeUndefined();
    expect((await platform.api.endpoint(project)).current_state).toBe('idle');
  });

  it('breaks off authentication messages that are none', async () => {
    // The error that each must get; null: closed without one, as Postgres does it with a goodbye.
    const bad: readonly [string, Buffer, (RegExp | null)?][] = [
      ['a query before login', message('Q', Buffer.from('SELECT 1\0'))],
      ['an unknown type', message('?', Buffer.from('x'))],
      ['SASL with an inner length of -1', message('p', Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), int32(-1)]))],
      [
        'SASL with an inner length of 2 GB',
        message('p', Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), int32(0x7fff_ffff), Buffer.from('n,,')])),
      ],
      [
        'SASL of an unknown mechanism',
        message('p', Buffer.concat([Buffer.from('PLAIN\0'), int32(3), Buffer.from('n,,')])),
      ],
      [
        'SASL without channel binding in TLS form',
        message('p', Buffer.concat([Buffer.from('SCRAM-SHA-256-PLUS\0'), int32(3), Buffer.from('p=x')])),
      ],
      ['SASL of 100 kB', message('p', Buffer.alloc(100_000, 'x'))],
      ['a length of 2 GB', Buffer.concat([Buffer.from('p'), int32(0x7fff_fff0)])],
      ['a length of 0', Buffer.concat([Buffer.from('p'), int32(0)])],
      ['Terminate', message('X', Buffer.alloc(0)), null],
    ];
    for (const [name, bytes, expected = /^08P01$/] of bad) {
      const { closed, error } = await send(startup(), bytes);
      expect(closed, name).toBe(true);
      if (expected === null) expect(error, name).toBeUndefined();
      else expect(error?.sqlstate ?? 'no error', name).toMatch(expected);
    }
    expect(platform.compute(project.branchId)).toBeUndefined();
  });

  it('passes on what the compute itself refuses', async () => {
    expect((await tryPsql(withDatabase(project.uri, 'nothing'), 'SELECT 1')).stderr).toContain(
      'database "nothing" does not exist',
    );
    expect(await psql(project.uri, 'SELECT 1')).toBe('1');
  });

  it('closes to an address that keeps guessing, for that endpoint alone', async () => {
    const [guessed, other] = await Promise.all([
      platform.api.createProject({ name: 'guessed' }),
      platform.api.createProject({ name: 'beside' }),
    ]);
    const refusals: string[] = [];
    for (let i = 0; i < 14; i++) {
      const { error } = await visit(withRole(guessed.uri, 'neondb_owner', `guess-${i}`));
      refusals.push(error?.message ?? 'none');
    }
    const isWrong = (refusal: string): boolean => refusal.includes('password authentication failed');
    expect(refusals.map(isWrong), refusals.join('\n')).toEqual(refusals.map((_, i) => i < 10));
    expect(refusals.at(-1)).toContain("You've exceeded the rate limit");
    expect((await visit(other.uri)).error).toBeUndefined();
    await Promise.all([guessed, other].map(async ({ id }) => await platform.api.deleteProject(id)));
  });
});

describe('TLS that is bent', () => {
  it('survives clients that leave in the middle', async () => {
    const ca = readFileSync(platform.caCert);
    for (let i = 0; i < 20; i++) {
      const tcp = await openSocket(platform.pgPort);
      const tls = connectTls({ socket: tcp, servername: 'localhost', ca, ALPNProtocols: ['postgresql'] });
      tls.on('error', () => {});
      tls.once('secureConnect', () => {
        tls.write(startup().subarray(0, i * 3));
        tcp.resetAndDestroy();
      });
      await delay(5);
      if (i % 3 === 0) tcp.destroy();
    }
    expect((await visit(project.uri)).error).toBeUndefined();
  });

  it('left the gateway as it was', async () => {
    expect(platform.pidOf('gateway')).toBe(gateway);
    expect((await visit(project.uri)).error).toBeUndefined();
  });
});
