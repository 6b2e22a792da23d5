import { readFileSync } from 'node:fs';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestProject } from '../support/api.ts';
import { must } from '../support/must.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { runOk } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { skipWithout } from '../support/tools.ts';
import { withParameters, withoutEndpoint } from '../support/uri.ts';
import { startupPacket } from '../support/wire.ts';

/** The ways in: which name, which TLS, which place for the endpoint id. */

let platform: RunningPlatform;
let project: TestProject;
beforeAll(async () => {
  platform = await startPlatform();
  project = await platform.api.createProject({ name: 'tls' });
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const verified = (): Record<string, string> => ({ sslmode: 'verify-full', sslrootcert: platform.caCert });
const IN_TLS = `SELECT current_user, current_database()`;
const WHO = 'neondb_owner|neondb';

/** Key=value words, as psql takes them, with the endpoint nowhere in them. */
function words(extra: Readonly<Record<string, string>>): string {
  const all = {
    port: String(platform.pgPort),
    user: 'neondb_owner',
    dbname: 'neondb',
    password: project.password,
    ...extra,
  };
  return Object.entries(all)
    .map(([name, value]) => `${name}='${value.replaceAll(/['\\]/g, String.raw`\$&`)}'`)
    .join(' ');
}

describe('TLS and routing', () => {
  it('gives URIs that carry no sslmode and work in plain text and in TLS', async () => {
    expect(project.uri).toMatch(
      new RegExp(
        `^postgres(ql)?://neondb_owner:[^@]+@localhost:${platform.pgPort}/neondb\\?options=endpoint%3D${project.endpointId}$`,
      ),
    );
    for (const sslmode of ['disable', 'prefer', 'require']) {
      expect(await psql(withParameters(project.uri, { sslmode }), IN_TLS)).toBe(WHO);
    }
  });

  it('proves who it is and binds the channel', async () => {
    const uri = withParameters(project.uri, { ...verified(), channel_binding: 'require' });
    expect(await psql(uri, IN_TLS)).toBe(WHO);
    await platform.api.suspend(project);
    expect(await psql(uri, IN_TLS), 'asleep').toBe(WHO);
  });

  it('shows psql the protocol', async (context) => {
    skipWithout('psql', context);
    expect(await psql(withParameters(project.uri, verified()), '\\conninfo')).toMatch(/TLSv1\.[23]/);
  });

  it('holds to TLS 1.2 and above', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const uri = withParameters(project.uri, {
        ...verified(),
        ssl_min_protocol_version: version,
        ssl_max_protocol_version: version,
      });
      expect(await psql(uri, IN_TLS), version).toBe(WHO);
    }
    const old = withParameters(project.uri, {
      ...verified(),
      ssl_min_protocol_version: 'TLSv1',
      ssl_max_protocol_version: 'TLSv1.1',
    });
    expect((await tryPsql(old, IN_TLS)).code).not.toBe(0);
  });

  it('is not believed with another authority', async () => {
    const uri = withParameters(project.uri, {
      sslmode: 'verify-full',
      sslrootcert: '/etc/ssl/certs/ca-certificates.crt',
    });
    expect((await tryPsql(uri, IN_TLS)).stderr).toMatch(/certificate verify failed|could not read|does not exist/);
  });

  it('takes the endpoint from SNI', async () => {
    const host = { host: `${project.endpointId}.localhost`, hostaddr: '127.0.0.1' };
    expect(await psql(words({ ...host, ...verified(), channel_binding: 'require' }), IN_TLS)).toBe(WHO);
    const other = words({ ...host, sslmode: 'require', options: 'endpoint=ep-someone-else-12345678' });
    expect((await tryPsql(other, IN_TLS)).stderr).toContain('Inconsistent project name inferred from SNI');
  });

  it('takes the endpoint from options, raw and encoded, beside other options', async () => {
    for (const options of [
      `endpoint=${project.endpointId}`,
      `endpoint%3D${project.endpointId}`,
      `project=${project.endpointId}`,
      `-c work_mem=7MB endpoint=${project.endpointId} --statement_timeout=9000`,
    ]) {
      expect(await psql(words({ host: 'localhost', options }), IN_TLS), options).toBe(WHO);
    }
    const set = words({ host: 'localhost', options: `-c work_mem=7MB endpoint=${project.endpointId}` });
    expect(await psql(set, 'SHOW work_mem')).toBe('7MB');
  });

  it('takes the endpoint from the password', async () => {
    for (const mark of [';', '$']) {
      const password = `endpoint=${project.endpointId}${mark}${project.password}`;
      expect(await psql(words({ host: 'localhost', sslmode: 'require', password }), IN_TLS), mark).toBe(WHO);
    }
    const wrong = words({ host: 'localhost', sslmode: 'require', password: `endpoint=${project.endpointId};wrong` });
    expect((await tryPsql(wrong, IN_TLS)).stderr).toContain('password authentication failed');
  });

  it('says how to name an endpoint where none is named', async () => {
    const { stderr } = await tryPsql(withoutEndpoint(project.uri), IN_TLS);
    expect(stderr).toContain('Endpoint ID is not specified');
  });

  it('speaks direct TLS with ALPN postgresql, and no other protocol', async () => {
    const socket = await directTls(['postgresql']);
    expect(socket.alpnProtocol).toBe('postgresql');
    socket.write(
      startupPacket({ user: 'neondb_owner', database: 'neondb', options: `endpoint=${project.endpointId}` }),
    );
    const [reply] = (await onceData(socket)) as [Buffer];
    expect(reply.toString('latin1', 0, 1)).toBe('R');
    expect(reply.toString('latin1')).toContain('SCRAM-SHA-256-PLUS');
    socket.destroy();
    await expect(directTls(['h2'])).rejects.toThrow(/alert|no application protocol|disconnected|reset/i);
  });

  it('speaks direct TLS with libpq', async (context) => {
    skipWithout('psql', context);
    const major = Number(/(\d+)/.exec(await runOk('psql', ['--version']))?.[1]);
    context.skip(major < 17, `libpq ${major} has no direct TLS`);
    const uri = withParameters(project.uri, { ...verified(), sslnegotiation: 'direct', channel_binding: 'require' });
    expect(await psql(uri, IN_TLS)).toBe(WHO);
  });

  it('follows a certificate authority that stays over restarts', async () => {
    const before = readFileSync(platform.caCert, 'utf8');
    await platform.restart();
    expect(readFileSync(platform.caCert, 'utf8')).toBe(before);
    expect(await psql(withParameters(project.uri, verified()), IN_TLS)).toBe(WHO);
  });
});

async function directTls(ALPNProtocols: string[]): Promise<TLSSocket> {
  const ca = readFileSync(must(platform.caCert));
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const socket = connectTls({ host: '127.0.0.1', port: platform.pgPort, servername: 'localhost', ca, ALPNProtocols });
  socket.once('secureConnect', () => resolve(socket));
  socket.once('error', reject);
  return await promise;
}

async function onceData(socket: TLSSocket): Promise<unknown[]> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown[]>();
  socket.once('data', (chunk: Buffer) => resolve([chunk]));
  socket.once('close', () => reject(new Error('closed without an answer')));
  return await promise;
}
