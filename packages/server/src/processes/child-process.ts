import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Log } from '../kernel/log.ts';
import { backoffMs, withDeadline } from '../kernel/wait.ts';
import type { ChildMessage, EndMode, SupervisorMessage } from './protocol.ts';

interface ManagedProcessOptions {
  readonly name: string;
  readonly modulePath: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  /** From the order to end to a SIGKILL. */
  readonly killAfterMs: number;
  /** Takes the process's log lines. */
  readonly logTo: (chunk: Buffer) => void;
  /** Given: a very first start that fails is tried again, and this is told why. Else it makes `start` reject. */
  readonly onFailedStart?: ((message: string) => void) | undefined;
  /** The process set changed: a pid came or went. */
  readonly onChange: () => void;
}

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

type ReadyMessage = Extract<ChildMessage, { kind: 'ready' }>;

const RESTART_MAX_MS = 60_000;
const TERMINATED_ALONE_MS = 200;
/** A process that ran this long before it ended starts its back-off from the beginning. */
const STABLE_AFTER_MS = 10_000;

/** One of our processes, started again whenever it ends without being told to. */
export class ManagedProcess {
  readonly #options: ManagedProcessOptions;
  /** Settles when the present child, or the one after it, becomes ready; rejects only at a first start. */
  #nextReady = Promise.withResolvers<ReadyMessage>();
  #child: ChildProcess | undefined;
  #ready: ReadyMessage | undefined;
  /** Why the child says that it ends. */
  #fatal: string | undefined;
  #isEnding = false;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #isEverReady = false;

  constructor(options: ManagedProcessOptions) {
    this.#options = options;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** What the process said when it became ready; undefined while it starts. */
  get ready(): ReadyMessage | undefined {
    return this.#ready;
  }

  /** Starts the process. Resolves when it is ready; rejects if its very first start fails. */
  async start(): Promise<ReadyMessage> {
    this.#spawn();
    return await this.#nextReady.promise;
  }

  /**
   * Ends the process for good.
   * @returns why what it owns may not have ended with it; undefined if it ended in good order, or never was ready
   */
  async end(mode: EndMode): Promise<string | undefined> {
    const { name } = this.#options;
    this.#isEnding = true;
    clearTimeout(this.#timer);
    if (!this.#child)
      return this.#isEverReady ? `the ${name} process did not run, so it could not end its part` : undefined;
    const wasReady = this.#ready !== undefined;
    const { code, signal } = await this.#endChild(mode);
    if (code === 0 || (!wasReady && signal === null)) return undefined;
    return `the ${name} process did not end in good order: ${this.#fatal ?? signal ?? `exit code ${code}`}`;
  }

  /** Ends the process, leaving what it owns, and starts it from the code as it is on disk now. */
  async restart(): Promise<void> {
    this.#nextReady = Promise.withResolvers();
    await this.#endChild('detach');
    await withDeadline(`restart the ${this.#options.name} process`, RESTART_MAX_MS, () => this.#nextReady.promise);
  }

  async #endAlone(child: ChildProcess): Promise<void> {
    if (!this.#isEnding && this.#child === child) await this.#endChild('detach');
  }

  async #endChild(mode: EndMode): Promise<Exit> {
    const child = this.#child;
    if (!child) return { code: 0, signal: null };
    const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    const message: SupervisorMessage = { kind: 'end', mode };
    if (child.connected) child.send(message, () => undefined);
    else child.kill('SIGTERM');
    const killer = setTimeout(() => child.kill('SIGKILL'), this.#options.killAfterMs);
    const [code, signal] = await exited;
    clearTimeout(killer);
    return { code, signal };
  }

  #spawn(): void {
    const { name, modulePath, args, env, log, logTo, onFailedStart, onChange } = this.#options;
    const startedAtMs = performance.now();
    const child = fork(modulePath, [...args], { env, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child = child;
    child.stderr?.on('data', logTo);
    this.#fatal = undefined;
    child.on('message', (message: ChildMessage) => {
      if (message.kind === 'fatal') {
        this.#fatal = message.message;
        return;
      }
      if (message.kind === 'terminated') {
        // If the supervisor was sent the same signal, its order comes first.
        setTimeout(() => void this.#endAlone(child), TERMINATED_ALONE_MS);
        return;
      }
      this.#ready = message;
      this.#isEverReady = true;
      this.#nextReady.resolve(message);
      onChange();
    });
    child.once('exit', (code, signal) => {
      this.#child = undefined;
      this.#ready = undefined;
      onChange();
      if (this.#isEnding) return;
      if (!this.#isEverReady) {
        const message = this.#fatal ?? `The ${name} process ended at its start (${signal ?? code}); its log says why`;
        if (!onFailedStart) {
          this.#nextReady.reject(new Error(message));
          return;
        }
        onFailedStart(message);
      }
      this.#failures = performance.now() - startedAtMs > STABLE_AFTER_MS ? 0 : this.#failures + 1;
      const pauseMs = this.#failures === 0 ? 0 : backoffMs(this.#failures, { firstMs: 20, maxMs: 5_000 });
      log.warn({ name, code, signal, pauseMs }, 'A process ended; starting it again');
      this.#timer = setTimeout(() => this.#spawn(), pauseMs);
    });
    onChange();
  }
}
