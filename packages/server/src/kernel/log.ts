import { pino, type Logger } from 'pino';

export type Log = Logger;

interface LogSink {
  write(line: string): void;
}

/**
 * The structured log of one process: JSON lines on standard error (or into `sink`), constant messages, values as
 * fields. `redact` is the second net behind `Secret`.
 */
export function createLog(process: string, level: string, sink?: LogSink): Log {
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
    sink ?? pino.destination({ fd: 2, sync: false }),
  );
}
