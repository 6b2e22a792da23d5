import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { must } from '../../kernel/assert.ts';
import { makeVerifier, parseVerifier } from '../../kernel/scram-verifier.ts';
import * as backend from '../../pgwire/backend-messages.ts';
import { int32, message } from '../../pgwire/fields.ts';
import { parseSaslInitialResponse } from '../../pgwire/frontend-messages.ts';
import { ProtocolError } from '../../pgwire/protocol-error.ts';
import { ScramServer } from '../../pgwire/scram-server.ts';
import { clientKeyOfPassword } from '../../pgwire/scram.ts';
import { ComputeRefusal } from '../error-response.ts';
import { DisconnectedError, MessageChannel } from '../login/message-channel.ts';
import { logInToCompute, type ComputeSession } from './compute-login.ts';

const verifier = must(parseVerifier(makeVerifier('secret')));

let directory: string;
let server: Server | undefined;
const sockets = new Set<Socket>();
beforeEach(async () => {
  directory = await mkdtemp('/tmp/tenantry-fake-');
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  server?.close();
  await rm(directory, { recursive: true, force: true });
});

/** Logs in to a compute that behaves as told. */
async function logIn(behave: (channel: MessageChannel) => Promise<void>): Promise<ComputeSession> {
  const socketPath = join(directory, 'pg.sock');
  server = createServer((socket) => {
    sockets.add(socket);
    const channel = new MessageChannel(socket);
    void channel
      .readPacket(10_000)
      .then(() => behave(channel))
      .catch(() => {});
  }).listen(socketPath);
  await once(server, 'listening');
  const login = {
    parameters: new Map([['user', 'u']]),
    clientKey: must(await clientKeyOfPassword('secret', verifier)),
    serverKey: verifier.serverKey,
  };
  return await logInToCompute({ computeId: 'c', kind: 'unix', socketPath }, login, new AbortController().signal);
}

/** The honest server's side, up to and with AuthenticationOk. */
async function authenticate(channel: MessageChannel): Promise<void> {
  const scram = new ScramServer({ verifier, nonce: 'c2VydmVy', channelBinding: undefined });
  channel.write(backend.authenticationSasl(['SCRAM-SHA-256']));
  const first = parseSaslInitialResponse((await channel.readMessage(1000)).body);
  channel.write(backend.authenticationSaslContinue(scram.receiveFirst(first.mechanism, first.data)));
  const success = must(scram.receiveFinal((await channel.readMessage(1000)).body.toString()));
  channel.write(Buffer.concat([backend.authenticationSaslFinal(success.serverFinal), backend.authenticationOk()]));
}

const key = { processId: 77, secret: Buffer.of(1, 2, 3, 4) };

test('an honest compute: what it says at login is kept apart from its key', async () => {
  const status = backend.parameterStatus('server_version', '17.10');
  const notice = message('N', Buffer.from('SWARNING\0Mcollation\0\0'));
  const session = await logIn(async (channel) => {
    channel.write(backend.negotiateProtocolVersion(3 << 16, []));
    await authenticate(channel);
    channel.write(Buffer.concat([status, notice, backend.backendKeyData(key), backend.readyForQuery(), notice]));
  });
  expect(session.greeting).toEqual(Buffer.concat([status, notice]));
  expect(session.cancelKey).toEqual(key);
  expect(session.ready.subarray(0, 6)).toEqual(backend.readyForQuery());
  session.socket.destroy();
});

const sasl = backend.authenticationSasl(['SCRAM-SHA-256']);

test.each([
  ['asks for no proof', backend.authenticationOk()],
  ['wants the password', backend.authenticationCleartextPassword()],
  ['offers another mechanism', backend.authenticationSasl(['PLAIN'])],
  [
    'sends a nonce of 64 kB',
    Buffer.concat([sasl, backend.authenticationSaslContinue(`r=${'x'.repeat(60_000)},s=AA==,i=1`)]),
  ],
  ['wants a billion iterations', Buffer.concat([sasl, backend.authenticationSaslContinue('r=x,s=AA==,i=1000000000')])],
  ['claims a message of 2 GB', Buffer.concat([Buffer.from('R'), int32(0x7fffffff)])],
  ['claims a message of no length', Buffer.concat([Buffer.from('R'), int32(0)])],
  ['speaks HTTP', Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
])('a compute that %s is refused', async (_, bytes) => {
  const session = logIn(async (channel) => channel.write(bytes));
  await expect(session).rejects.toThrow(ProtocolError);
});

test('a compute that skips its own proof, or floods the greeting, is refused', async () => {
  const unproven = logIn(async (channel) => {
    channel.write(sasl);
    const first = parseSaslInitialResponse((await channel.readMessage(1000)).body);
    channel.write(backend.authenticationSaslContinue(`r=${first.data.slice('n,,n=,r='.length)}x,s=AA==,i=4096`));
    await channel.readMessage(1000);
    channel.write(backend.authenticationOk());
  });
  await expect(unproven).rejects.toThrow(ProtocolError);
});

test('a compute that never stops its greeting is refused', async () => {
  const flood = logIn(async (channel) => {
    await authenticate(channel);
    channel.write(Buffer.concat(Array.from({ length: 20_000 }, () => backend.parameterStatus('a', 'b'.repeat(20)))));
  });
  await expect(flood).rejects.toThrow('too much');
});

test('errors of Postgres are kept as they came, even without SQLSTATE (CVE-2026-6666)', async () => {
  const raw = message('E', Buffer.from('Monly text\0\0'));
  const error = await logIn(async (channel) => channel.write(raw)).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(ComputeRefusal);
  expect(error).toMatchObject({ sqlstate: '', raw });
});

test('a compute that goes away in the middle can be tried again', async () => {
  const gone = logIn(async (channel) => {
    channel.write(sasl);
    await channel.readMessage(1000);
    channel.socket.destroy();
  });
  await expect(gone).rejects.toThrow(DisconnectedError);
});
