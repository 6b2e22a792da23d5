import { lchown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProgramError, runProgram } from '../engines/run-program.ts';
import { withDeadline } from '../kernel/wait.ts';
import { authenticationOk } from '../pgwire/backend-messages.ts';
import { FrameReader } from '../pgwire/frame-reader.ts';
import { STARTUP_BODY_MAX_BYTES } from '../pgwire/startup-packet.ts';
import { dumpFailed, type RunDumpOptions } from './dump-options.ts';
import { RawSession, type DumpSource } from './raw-session.ts';

export interface RunSystemDumpOptions extends RunDumpOptions {
  readonly path: string;
  /** The user that the program runs as; null: ours. */
  readonly runAs: { readonly uid: number; readonly gid: number } | null;
}

/**
 * Runs a pg_dump of the system. It connects to a socket of ours, behind which there is a session that we have logged
 * in: the password reaches no other process.
 * @throws PlatformError INTERNAL (with the words of pg_dump), DEADLINE_EXCEEDED
 */
export async function runSystemDump(source: DumpSource, options: RunSystemDumpOptions): Promise<string> {
  const { path, runAs, args, deadlineMs } = options;
  const directory = await mkdtemp(join(tmpdir(), 'tenantry-dump-'));
  const socketPath = join(directory, '.s.PGSQL.5432');
  const output = join(directory, 'schema.sql');
  let server: Server | undefined;
  const session = await withDeadline('read the schema', deadlineMs, async () => await RawSession.open(source));
  try {
    server = await listen(socketPath, session);
    if (runAs) for (const file of [directory, socketPath]) await lchown(file, runAs.uid, runAs.gid);
    const connection = ['-h', directory, '-p', '5432', '-U', source.role, '-d', 'postgres', '-w'];
    await runProgram(path, [...connection, ...args, '-f', output], { deadlineMs, runAs, env: {}, cwd: '/' });
    return await readFile(output, 'utf8');
  } catch (error) {
    throw error instanceof ProgramError ? dumpFailed(error.stderr || error.message, error) : error;
  } finally {
    session.close();
    server?.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Takes one client and lets it in; from there on its bytes and those of the session pass as they are. */
async function listen(socketPath: string, session: RawSession): Promise<Server> {
  const server = createServer((client) => {
    server.close();
    const frames = new FrameReader();
    const onData = (chunk: Buffer): void => {
      frames.push(chunk);
      if (!frames.takePacket(STARTUP_BODY_MAX_BYTES)) return;
      client.off('data', onData);
      client.write(Buffer.concat([authenticationOk(), session.greeting]));
      connectBoth(client, session.detach(), frames.takeRest());
    };
    client.on('data', onData);
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(socketPath, resolve);
  await promise;
  return server;
}

function connectBoth(client: Socket, postgres: Socket, rest: Buffer): void {
  postgres.write(rest);
  client.on('error', () => postgres.destroy());
  client.pipe(postgres).pipe(client);
}
