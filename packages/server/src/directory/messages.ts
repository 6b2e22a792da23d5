import type { Socket } from 'node:net';
import type { DirectoryEntry } from '../gateway/ports.ts';

/**
 * The directory stream between control and gateways: JSON lines both ways over control's unix socket.
 * The gateway says where it stands, control sends what changed since, the gateway acknowledges what it has applied.
 */
export type GatewayMessage =
  | { readonly kind: 'hello'; readonly gateway: string; readonly epoch: string | null; readonly seq: number }
  | { readonly kind: 'ack'; readonly seq: number }
  | { readonly kind: 'find'; readonly id: number; readonly endpointId: string }
  /** Totals since this gateway process began, by metric name. */
  | { readonly kind: 'counters'; readonly counters: Readonly<Record<string, number>> };

export type ControlMessage =
  /** First message. Another epoch than the gateway's: forget everything, all entries follow. */
  | { readonly kind: 'welcome'; readonly epoch: string }
  | ({ readonly kind: 'change' } & DirectoryChange)
  | { readonly kind: 'found'; readonly id: number; readonly entry: DirectoryEntry | null }
  | { readonly kind: 'heartbeat' };

export interface DirectoryChange {
  readonly seq: number;
  readonly endpointId: string;
  /** Null: the endpoint is gone. */
  readonly entry: DirectoryEntry | null;
}

export const HEARTBEAT_MS = 2_000;
/** A peer that is silent for this long is taken for dead. */
export const SILENCE_MAX_MS = 3 * HEARTBEAT_MS;

/** Far above the longest entry (500 roles of 200 bytes). */
const LINE_LENGTH_MAX = 4 * 1024 * 1024;

/** Calls `onMessage` for each JSON line; destroys the socket on anything else. */
export function readMessages(socket: Socket, onMessage: (message: never) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LINE_LENGTH_MAX) {
      socket.destroy(new Error('Directory line is too long'));
      return;
    }
    for (const line of lines) {
      try {
        onMessage(JSON.parse(line) as never);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new Error(String(error)));
        return;
      }
    }
  });
}

export function writeMessage(socket: Socket, message: GatewayMessage | ControlMessage): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}
