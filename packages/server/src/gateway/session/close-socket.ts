import type { Duplex } from 'node:stream';

/** How long a peer may take to read our last bytes, and then for its own goodbye. */
const FLUSH_MS = 60_000;
const LINGER_MS = 10_000;

/**
 * Sends the last bytes and closes once the peer has taken them. What the peer still sends is read and dropped: a close
 * with unread input makes the kernel send a reset, which would take our last bytes away from the peer.
 */
export function closeAfter(socket: Duplex, bytes?: Buffer): void {
  if (socket.destroyed) return;
  const destroy = (): void => void socket.destroy();
  let timer = setTimeout(destroy, FLUSH_MS).unref();
  socket.once('close', () => clearTimeout(timer));
  socket.end(bytes, () => {
    clearTimeout(timer);
    timer = setTimeout(destroy, LINGER_MS).unref();
    if (socket.readableEnded) destroy();
    else socket.once('end', destroy);
  });
  socket.resume();
}
