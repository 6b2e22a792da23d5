import { pino } from 'pino';
import { Secret } from '../../kernel/secret.ts';
import { startEmbeddedPostgres, type EmbeddedPostgresOptions } from '../embedded-postgres.ts';

/** `node embedded-child.ts <options as JSON>`: starts it, prints its pid, and stays until it is killed. */
const options = JSON.parse(process.argv[2] ?? '') as Omit<EmbeddedPostgresOptions, 'log' | 'password'> & {
  readonly password: string;
};
const postgres = await startEmbeddedPostgres({
  ...options,
  password: new Secret(options.password),
  log: pino({ level: 'silent' }),
});
process.stdout.write(`${postgres.pid}\n`);
