import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeVerifier, parseVerifier, type ScramVerifier } from '../kernel/scram-verifier.ts';
import { mockVerifier } from './mock-verifier.ts';
import { ProtocolError } from './protocol-error.ts';
import { ScramClient } from './scram-client.ts';
import { ScramServer } from './scram-server.ts';
import { clientKeyOfPassword, hash, hmac, xor } from './scram.ts';

function verifierOf(password: string, salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')): ScramVerifier {
  const verifier = parseVerifier(makeVerifier(password, 4096, salt));
  if (!verifier) throw new Error('no verifier');
  return verifier;
}

const verifier = verifierOf('pencil');
const certificateHash = Buffer.alloc(32, 9);

const plain = (): ScramServer => new ScramServer({ verifier, nonce: 'SERVER', channelBinding: undefined });
const bound = (): ScramServer => new ScramServer({ verifier, nonce: 'SERVER', channelBinding: certificateHash });

/** A correct client-final-message for any header and binding, so that a test may lie in one place only. */
async function clientFinal(serverFirst: string, bare: string, binding: Buffer, nonce?: string): Promise<string> {
  const key = (await clientKeyOfPassword('pencil', verifier)) ?? Buffer.alloc(0);
  const withoutProof = `c=${binding.toString('base64')},r=${nonce ?? serverFirst.slice(2).split(',')[0]}`;
  const proof = xor(key, hmac(hash(key), `${bare},${serverFirst},${withoutProof}`));
  return `${withoutProof},p=${proof.toString('base64')}`;
}

test('the exchange of RFC 7677', () => {
  const server = new ScramServer({ verifier, nonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0', channelBinding: undefined });
  expect(server.receiveFirst('SCRAM-SHA-256', 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO')).toBe(
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  );
  const result = server.receiveFinal(
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  );
  expect(result?.serverFinal).toBe('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
});

test('the recovered ClientKey logs in to another server that holds the same verifier', async () => {
  const clientKey = (await clientKeyOfPassword('pencil', verifier)) ?? Buffer.alloc(0);
  const client = new ScramClient({ clientKey, serverKey: verifier.serverKey, nonce: 'client' });
  const server = plain();
  const done = server.receiveFinal(client.final(server.receiveFirst('SCRAM-SHA-256', client.first())));
  client.verify(done?.serverFinal ?? '');
  expect(done?.clientKey).toEqual(clientKey);
});

test('a wrong password, and any password for a mock verifier, fails without an error', async () => {
  expect(await clientKeyOfPassword('pen', verifier)).toBeUndefined();
  const mock = mockVerifier(Buffer.alloc(32, 1), 'ep-x', 'nobody');
  expect(await clientKeyOfPassword('pencil', mock)).toBeUndefined();
  const client = new ScramClient({ clientKey: Buffer.alloc(32), serverKey: Buffer.alloc(32), nonce: 'client' });
  const server = new ScramServer({ verifier: mock, nonce: 'SERVER', channelBinding: undefined });
  expect(server.receiveFinal(client.final(server.receiveFirst('SCRAM-SHA-256', client.first())))).toBeUndefined();
});

test('a mock verifier is the same at every try and differs by endpoint and user', () => {
  const secret = Buffer.alloc(32, 1);
  expect(mockVerifier(secret, 'ep-x', 'u')).toEqual(mockVerifier(secret, 'ep-x', 'u'));
  expect(mockVerifier(secret, 'ep-x', 'v').salt).not.toEqual(mockVerifier(secret, 'ep-x', 'u').salt);
  expect(mockVerifier(secret, 'ep-xu', '').salt).not.toEqual(mockVerifier(secret, 'ep-x', 'u').salt);
  expect(mockVerifier(secret, 'ep-x', 'u').salt).toHaveLength(verifier.salt.length);
});

describe('channel binding', () => {
  const bare = 'n=,r=client';
  const header = 'p=tls-server-end-point,,';

  test('is accepted with our certificate hash and refused with another', async () => {
    const first = bound().receiveFirst('SCRAM-SHA-256-PLUS', header + bare);
    const right = await clientFinal(first, bare, Buffer.concat([Buffer.from(header), certificateHash]));
    const server = bound();
    server.receiveFirst('SCRAM-SHA-256-PLUS', header + bare);
    expect(server.receiveFinal(right)?.clientKey).toHaveLength(32);
    const wrong = await clientFinal(first, bare, Buffer.concat([Buffer.from(header), Buffer.alloc(32, 8)]));
    const other = bound();
    other.receiveFirst('SCRAM-SHA-256-PLUS', header + bare);
    expect(() => other.receiveFinal(wrong)).toThrow('channel binding check failed');
  });

  test.each([
    ['SCRAM-SHA-256', 'y,,', 'negotiation error'],
    ['SCRAM-SHA-256', header, 'SCRAM-SHA-256 with channel binding data'],
    ['SCRAM-SHA-256-PLUS', 'n,,', 'without channel binding data'],
    ['SCRAM-SHA-256-PLUS', 'p=tls-unique,,', 'unsupported SCRAM channel-binding type'],
    ['SCRAM-SHA-256', 'n,a=admin,', 'authorization identity'],
    ['SCRAM-SHA-1', 'n,,', 'invalid SASL authentication mechanism'],
  ])('%s with header %s is refused', (mechanism, start, text) => {
    expect(() => bound().receiveFirst(mechanism, start + bare)).toThrow(text);
  });

  test('`y` is right where -PLUS was not offered, and the header is compared', async () => {
    const server = plain();
    const first = server.receiveFirst('SCRAM-SHA-256', `y,,${bare}`);
    const lie = await clientFinal(first, bare, Buffer.from('n,,'));
    expect(() => server.receiveFinal(lie)).toThrow('channel binding check failed');
    const truth = await clientFinal(first, bare, Buffer.from('y,,'));
    expect(server.receiveFinal(truth)?.clientKey).toHaveLength(32);
    expect(() => plain().receiveFirst('SCRAM-SHA-256-PLUS', `${header}${bare}`)).toThrow('invalid SASL');
  });
});

test('a nonce other than the one given is refused', async () => {
  const server = plain();
  const first = server.receiveFirst('SCRAM-SHA-256', 'n,,n=,r=client');
  const final = await clientFinal(first, 'n=,r=client', Buffer.from('n,,'), 'clientSERVEX');
  expect(() => server.receiveFinal(final)).toThrow('nonce does not match');
});

test.each(['', 'n', 'n,,', 'n,,r=x', 'n,,m=1,n=,r=x', 'n,,n=,r=', 'n,,n=,r=a b', 'x,,n=,r=a'])(
  'client-first %j is refused',
  (text) => {
    expect(() => plain().receiveFirst('SCRAM-SHA-256', text)).toThrow(ProtocolError);
  },
);

test.each([
  'r=other,s=AAAA,i=4096',
  'r=client,s=AAAA,i=4096',
  `r=client${'x'.repeat(65_536)},s=AAAA,i=4096`,
  'r=clientSERVER,s=AAAA,i=100001',
  'r=clientSERVER,s=AAAA,i=0',
  'r=clientSERVER,s=AAAA,i=-1',
  'r=clientSERVER,i=4096',
  `r=clientSERVER,s=${'A'.repeat(2000)},i=4096`,
])('a hostile server-first is refused (CVE-2026-6665): %#', (text) => {
  const client = new ScramClient({ clientKey: Buffer.alloc(32), serverKey: Buffer.alloc(32), nonce: 'client' });
  expect(() => client.final(text)).toThrow(ProtocolError);
});

test('a server that does not know the verifier is refused', () => {
  const client = new ScramClient({ clientKey: Buffer.alloc(32), serverKey: verifier.serverKey, nonce: 'client' });
  expect(() => client.verify(`v=${Buffer.alloc(32).toString('base64')}`)).toThrow(ProtocolError);
  client.final('r=clientSERVER,s=AAAA,i=4096');
  expect(() => client.verify(`v=${Buffer.alloc(32).toString('base64')}`)).toThrow('server signature');
  expect(() => client.verify('e=other-error')).toThrow(ProtocolError);
});

test('garbage gives a ProtocolError, nothing else', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string().map((s) => `n,,${s}`),
    fc.string().map((s) => `c=biws,r=${s},p=${s}`),
  );
  fc.assert(
    fc.property(text, (garbage) => {
      const client = new ScramClient({ clientKey: Buffer.alloc(32), serverKey: Buffer.alloc(32), nonce: 'client' });
      const started = plain();
      started.receiveFirst('SCRAM-SHA-256', 'n,,n=,r=client');
      const calls = [
        () => plain().receiveFirst('SCRAM-SHA-256', garbage),
        () => started.receiveFinal(garbage),
        () => client.final(garbage),
        () => client.verify(garbage),
      ];
      for (const call of calls) {
        try {
          call();
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }
    }),
  );
});
