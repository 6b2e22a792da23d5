import { duplexPair, type Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { ForwardSession } from './forward-session.ts';

const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);
const QUERY = Buffer.from('Q\0\0\0\x0dSELECT 1\0', 'latin1');

interface Sides {
  readonly client: Duplex;
  readonly compute: Duplex;
  readonly toCompute: Duplex;
  /** All that the client got, once its stream has ended. */
  readonly received: Promise<string>;
}

function open(): Sides {
  const [client, ofClient] = duplexPair();
  const [compute, toCompute] = duplexPair();
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => void chunks.push(chunk));
  const received = new Promise<string>((resolve) => {
    client.once('end', () => resolve(Buffer.concat(chunks).toString('latin1')));
  });
  new ForwardSession(ofClient, toCompute, () => undefined).start(READY, Buffer.alloc(0));
  return { client, compute, toCompute, received };
}

test('a client whose query cannot be written any more is told that its session was ended', async () => {
  const { client, toCompute, received } = open();
  client.write(QUERY);
  toCompute.destroy(new Error('write EPIPE'));
  toCompute.on('error', () => undefined);
  expect(await received).toContain('57P01');
});

test('a message that was cut is not followed by another', async () => {
  const { client, compute, received } = open();
  client.write(QUERY);
  compute.end('T\0\0');
  expect(await received).not.toContain('57P01');
});

test('a client that said goodbye hears nothing more', async () => {
  const { client, compute, received } = open();
  compute.resume();
  compute.once('data', () => compute.end());
  client.write(TERMINATE);
  expect(await received).toBe(READY.toString('latin1'));
});
