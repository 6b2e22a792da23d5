import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { PlatformError } from '../kernel/errors.ts';
import { toErrorResponse } from './error-response.ts';
import { requestIdHeaders } from './request-id.ts';

const REASONS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: 'its URL and headers are larger than 16 KiB',
  ERR_HTTP_REQUEST_TIMEOUT: 'it did not arrive in time',
};

/** Answers bytes that Node could not read as an HTTP request, on the bare socket. */
export function answerUnreadable(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const reason = REASONS[error.code ?? ''] ?? 'it is not HTTP';
  const id = randomUUID();
  const { status, body } = toErrorResponse(
    new PlatformError('INVALID_REQUEST', `Cannot read the request: ${reason}`),
    id,
  );
  const text = JSON.stringify(body);
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(text)),
    connection: 'close',
    ...requestIdHeaders(id),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${text}`);
}
