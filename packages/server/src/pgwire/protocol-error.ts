/** The peer broke the wire protocol. The message may be shown to the peer; it never holds what the peer sent. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}
