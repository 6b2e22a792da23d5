import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { PeerCertificate } from 'node:tls';
import { Client, DatabaseError, type ClientConfig, type CustomTypesConfig } from 'pg';
import { splitStatements } from '../../packages/server/src/pgdump/split-statements.ts';
import { parseConninfo, type Conninfo } from './conninfo.ts';
import type { RunResult } from './run.ts';

/** Exit codes of psql. */
const NO_SESSION = 2;
const SCRIPT_FAILED = 3;

/** Values as the server wrote them. */
const AS_SENT = { getTypeParser: () => (value: string) => value } as unknown as CustomTypesConfig;

/**
 * What `psql CONNECTION -qAt -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -f -` does with SQL on its standard input, over
 * node-postgres, for a machine without psql: one statement at a time, rows as unaligned text, errors and notices with
 * their SQLSTATE, exit codes. Commands of psql (`\copy`) and settings of libpq beyond those read here it does not know.
 */
export async function runSql(connection: string, sql: string, timeoutMs: number): Promise<RunResult> {
  const session: Session = { stdout: '', stderr: '', farewell: undefined };
  let client: Client;
  try {
    client = await connect(parseConninfo(connection), session);
  } catch (error) {
    return { code: NO_SESSION, stdout: '', stderr: `psql: error: connection to server failed: ${refusal(error)}\n` };
  }
  const overrun = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    socketOf(client).destroy();
    overrun.reject(new Error(`No end within ${timeoutMs} ms of ${sql.slice(0, 200)}\n${session.stderr}`));
  }, timeoutMs);
  try {
    const code = await Promise.race([runScript(client, sql, session), overrun.promise]);
    return { code, stdout: session.stdout, stderr: session.stderr };
  } finally {
    clearTimeout(timer);
    await client.end().catch(() => {});
  }
}

interface Session {
  stdout: string;
  stderr: string;
  /** What the server said as it ended the session. */
  farewell: Error | undefined;
}

async function runScript(client: Client, sql: string, session: Session): Promise<number> {
  for (const text of splitStatements(sql)) {
    try {
      const { rows } = await client.query<(string | null)[]>({ text, rowMode: 'array', types: AS_SENT });
      for (const row of rows) session.stdout += `${row.map((value) => value ?? '').join('|')}\n`;
    } catch (error) {
      const cause = error instanceof DatabaseError ? error : (session.farewell ?? error);
      session.stderr += complaint(cause);
      const isOver = !(cause instanceof DatabaseError) || cause.severity !== 'ERROR';
      if (isOver) session.stderr += 'server closed the connection unexpectedly\n';
      return isOver ? NO_SESSION : SCRIPT_FAILED;
    }
  }
  return 0;
}

async function connect(words: Conninfo, session: Session): Promise<Client> {
  const { host = '', sslmode = 'prefer' } = words;
  const ssl = sslmode === 'disable' || host.startsWith('/') ? false : tlsOf(words, sslmode);
  try {
    return await open(words, session, ssl);
  } catch (error) {
    if (sslmode !== 'prefer' || !String(error).includes('does not support SSL')) throw error;
    return await open(words, session, false);
  }
}

async function open(words: Conninfo, session: Session, ssl: ClientConfig['ssl'] & {}): Promise<Client> {
  const config: ClientConfig = {
    host: words['hostaddr'] ?? words['host'] ?? 'localhost',
    port: Number(words['port'] ?? 5432),
    user: words['user'],
    password: words['password'] ?? '',
    database: words['dbname'],
    options: words['options'],
    application_name: words['application_name'] ?? 'psql',
    connectionTimeoutMillis: 1000 * Number(words['connect_timeout'] ?? 30),
    enableChannelBinding: words['channel_binding'] !== 'disable',
    ssl,
    ...(words['replication'] === undefined ? {} : { replication: words['replication'] }),
  };
  const client = new Client(config);
  client.on('error', (error) => (session.farewell ??= error));
  client.on('notice', (notice) => (session.stderr += complaint(notice)));
  const inner = client as unknown as Inner;
  // As PGTZ makes psql do it.
  const startup = inner.getStartupConf();
  inner.getStartupConf = () => ({ ...startup, TimeZone: 'UTC' });
  if (words['channel_binding'] === 'require') {
    inner.connection.once('authenticationSASL', ({ mechanisms }) => {
      if (!mechanisms.includes('SCRAM-SHA-256-PLUS')) socketOf(client).destroy(new Error('channel binding required'));
    });
  }
  try {
    await client.connect();
    return client;
  } catch (error) {
    socketOf(client).destroy();
    throw session.farewell instanceof DatabaseError ? session.farewell : error;
  }
}

/** What node-postgres has and does not declare. */
interface Inner {
  getStartupConf: () => Record<string, string>;
  readonly connection: {
    readonly stream: { destroy(error?: Error): void };
    once(event: 'authenticationSASL', listener: (message: { mechanisms: readonly string[] }) => void): void;
  };
}

const socketOf = (client: Client): Inner['connection']['stream'] => (client as unknown as Inner).connection.stream;

function tlsOf(words: Conninfo, sslmode: string): ClientConfig['ssl'] & object {
  const { host = '', sslrootcert } = words;
  const isVerified = sslmode.startsWith('verify');
  return {
    rejectUnauthorized: isVerified,
    ...(isIP(host) ? {} : { servername: host }),
    ...(isVerified && sslrootcert !== undefined ? { ca: readFileSync(sslrootcert) } : {}),
    checkServerIdentity: sslmode === 'verify-full' ? checkAsLibpq : () => undefined,
    ...versions(words),
  };
}

/** Takes `*.localhost` too, which Node finds too wide. */
function checkAsLibpq(host: string, certificate: PeerCertificate): Error | undefined {
  const names = (certificate.subjectaltname ?? '').split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''));
  const isNamed = names.includes(host) || names.includes(host.replace(/^[^.]+/, '*'));
  return isNamed ? undefined : Object.assign(new Error(`it is for ${names.join(', ')}`), { code: 'CERT_NAME' });
}

function versions(words: Conninfo): object {
  const { ssl_min_protocol_version: minVersion, ssl_max_protocol_version: maxVersion } = words;
  return { ...(minVersion === undefined ? {} : { minVersion }), ...(maxVersion === undefined ? {} : { maxVersion }) };
}

/** In the words of libpq where tests look for them. */
function refusal(error: unknown): string {
  if (error instanceof DatabaseError) return `${error.severity}:  ${error.message}`;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (message.includes('client password must be')) return 'fe_sendauth: no password supplied';
  if (/CERT|ISSUER/.test(code)) return `SSL error: certificate verify failed (${message})`;
  return `${code} ${message}`;
}

function complaint(error: unknown): string {
  const { severity, code, message, detail, hint } = error as Partial<DatabaseError> & Error;
  if (severity === undefined) return `${message}\n`;
  return [
    `psql:<stdin>: ${severity}:  ${code}: ${message}`,
    ...(detail ? [`DETAIL:  ${detail}`] : []),
    ...(hint ? [`HINT:  ${hint}`] : []),
    '',
  ].join('\n');
}
