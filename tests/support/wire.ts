import { connect, type Socket } from 'node:net';

/** The Postgres protocol by hand, for tests of what no client library would send. */

export const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
export const GSS_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]);

/** A startup packet of protocol 3.0. */
export function startupPacket(parameters: Readonly<Record<string, string>>, version = 0x0003_0000): Buffer {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [name, value]);
  const body = Buffer.from(`${pairs.map((text) => `${text}\0`).join('')}\0`);
  const head = Buffer.alloc(8);
  head.writeInt32BE(body.length + 8, 0);
  head.writeInt32BE(version, 4);
  return Buffer.concat([head, body]);
}

export function cancelRequest(processId: number, secretKey: number): Buffer {
  const packet = Buffer.alloc(16);
  packet.writeInt32BE(16, 0);
  packet.writeInt32BE(80_877_102, 4);
  packet.writeInt32BE(processId | 0, 8);
  packet.writeInt32BE(secretKey | 0, 12);
  return packet;
}

export function message(type: string, body: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

export interface WireError {
  readonly severity: string;
  readonly sqlstate: string;
  readonly message: string;
}

/** The first ErrorResponse in what a server sent. */
export function findError(bytes: Buffer): WireError | undefined {
  for (let at = 0; at + 5 <= bytes.length; at += 1 + bytes.readInt32BE(at + 1)) {
    if (bytes.toString('latin1', at, at + 1) !== 'E') continue;
    const fields = bytes.toString('utf8', at + 5, at + 1 + bytes.readInt32BE(at + 1)).split('\0');
    const field = (code: string): string => fields.find((text) => text.startsWith(code))?.slice(1) ?? '';
    return { severity: field('S'), sqlstate: field('C'), message: field('M') };
  }
  return undefined;
}

export interface Exchange {
  readonly received: Buffer;
  /** The server closed within the time. */
  readonly closed: boolean;
  readonly elapsedMs: number;
}

/** Opens a plain TCP connection, sends bytes, and gathers all until the server closes or `waitMs` are over. */
export async function exchange(port: number, bytes: Uint8Array, waitMs = 5_000): Promise<Exchange> {
  const started = performance.now();
  const socket = await openSocket(port);
  const received: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.on('data', (chunk) => received.push(chunk));
  socket.on('close', () => resolve(true));
  const timer = setTimeout(() => resolve(false), waitMs);
  if (bytes.length > 0) socket.write(bytes);
  const closed = await promise;
  clearTimeout(timer);
  socket.destroy();
  return { received: Buffer.concat(received), closed, elapsedMs: performance.now() - started };
}

export async function openSocket(port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host });
  socket.on('error', () => {}); // a reset is an answer too: it shows as close
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once('connect', resolve);
  socket.once('error', reject);
  await promise;
  return socket;
}
