import { pino, type Logger } from 'pino';

export type Log = Logger;

/**
 * The structured log of one process: JSON lines on standard error, constant messages, values as fields.
 * `redact` is the second net behind `Secret`.
 */
export function createLog(process: string, level: string): Log {
  return pino(
    {
      level,
      base: { process },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: [
          'password',
          'verifier',
          'authorization',
          '*.password',
          '*.verifier',
          '*.authorization',
          'req.headers.authorization',
        ],
        censor: '[secret]',
      },
    },
    pino.destination({ fd: 2, sync: false }),
  );
}
