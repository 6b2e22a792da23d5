import { say } from './statistics.ts';

/** On Ctrl-C or SIGTERM ends what the bench has started, in a session of its own, and then the bench. */
export function endOnSignal(started: AsyncDisposable): void {
  const end = async (signal: string): Promise<void> => {
    say(`${signal}: ending the platform`);
    try {
      await started[Symbol.asyncDispose]();
    } finally {
      process.exit(1);
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void end(signal));
}
