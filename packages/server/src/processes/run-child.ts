import { messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { withDeadline } from '../kernel/wait.ts';
import { END_MAX_MS } from './end-budget.ts';
import type { ChildMessage, EndMode, RunningProcess, SupervisorMessage } from './protocol.ts';

/**
 * The life of one of our processes: start, say "ready", run until told to end. A supervisor that dies takes its
 * processes with it, but never the Postgres processes: those are detached from and found again by the next start.
 * SIGINT is left to the supervisor (a terminal sends it to all of us). So is SIGTERM, which a service manager sends to
 * all of us too: the supervisor decides whether it ends everything or this process alone.
 */
export async function runChild(log: Log, start: (announce: () => void) => Promise<RunningProcess>): Promise<void> {
  const ending = Promise.withResolvers<EndMode>();
  process.on('message', (message: SupervisorMessage) => ending.resolve(message.mode));
  process.once('disconnect', () => ending.resolve('detach'));
  process.on('SIGINT', () => undefined);

  const send = (message: ChildMessage): void => {
    if (process.connected) process.send?.(message, undefined, {}, () => undefined);
  };
  process.on('SIGTERM', () => (process.connected ? send({ kind: 'terminated' }) : ending.resolve('detach')));
  let running: RunningProcess | undefined;
  const announce = (): void => {
    if (running) send({ kind: 'ready', ...running.ready() });
  };
  let exitCode = 0;
  try {
    running = await start(announce);
    announce();
    const mode = await ending.promise;
    log.info({ mode }, 'Ending');
    const child = running;
    await withDeadline('end the process', END_MAX_MS, () => child.end(mode));
  } catch (error) {
    log.error({ err: error }, 'The process failed');
    send({ kind: 'fatal', message: messageOf(error) });
    exitCode = 1;
  }
  // Sockets of clients and timers of libraries must not keep a process alive that has ended its work.
  process.exit(exitCode);
}
