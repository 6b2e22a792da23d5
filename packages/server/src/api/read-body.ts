import type { FastifyInstance } from 'fastify';
import { PlatformError } from '../kernel/errors.ts';

/**
 * Bodies are JSON. An empty one is no body, whatever its content type: `curl -X POST -d ''` and clients that always
 * send `Content-Type: application/json` both mean that.
 */
export function readBodies(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.trim() === '') done(null, undefined);
    else void parseJson(request, body, done);
  });
  app.addContentTypeParser<string>('*', { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') done(null, undefined);
    else done(notJson(), undefined);
  });
}

const notJson = (): PlatformError =>
  new PlatformError(
    'INVALID_REQUEST',
    'Cannot read the request: the body must be sent as Content-Type application/json',
  );
