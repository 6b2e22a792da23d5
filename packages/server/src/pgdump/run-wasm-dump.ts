import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import { messageOf, PlatformError } from '../kernel/errors.ts';
import { withDeadline } from '../kernel/wait.ts';
import { authenticationOk } from '../pgwire/backend-messages.ts';
import { FrameReader } from '../pgwire/frame-reader.ts';
import { parseStartupPacket, STARTUP_BODY_MAX_BYTES } from '../pgwire/startup-packet.ts';
import { dumpFailed, type RunDumpOptions } from './dump-options.ts';
import { RawSession, type DumpSource } from './raw-session.ts';

/** What the worker is given. `signal` is one Int32: 1 once an answer is on the port. */
export interface WasmDumpData {
  readonly port: MessagePort;
  readonly signal: SharedArrayBuffer;
  readonly args: readonly string[];
}

export type WasmDumpResult =
  | { readonly kind: 'done'; readonly text: string }
  | { readonly kind: 'failed'; readonly reason: string };

/** Of pg_dump in @electric-sql/pglite-tools; it reads servers of this major version and of all before. */
export const WASM_PG_DUMP_VERSION = 18;

/** Everything that Postgres may answer in one dump: pg_dump keeps what it needs of it in memory. */
const ANSWERS_MAX_BYTES = 256 * 1024 ** 2;
const HEAP_MAX_MB = 512;
const QUERY_MAX_BYTES = 64 * 1024 ** 2;

/**
 * Runs pg_dump in a thread of its own, with a session that we have logged in; it never has the password.
 * @throws PlatformError INTERNAL (with the words of pg_dump as cause), DEADLINE_EXCEEDED
 */
export async function runWasmDump(source: DumpSource, { args, deadlineMs }: RunDumpOptions): Promise<string> {
  return await withDeadline('read the schema', deadlineMs, async (signal) => {
    const session = await RawSession.open(source);
    const { port1, port2 } = new MessageChannel();
    const shared = new SharedArrayBuffer(4);
    const worker = new Worker(new URL('./wasm-dump-worker.ts', import.meta.url), {
      workerData: { port: port2, signal: shared, args } satisfies WasmDumpData,
      transferList: [port2],
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MAX_MB },
      env: {},
    });
    try {
      return await talk({ worker, port: port1, shared, session, signal });
    } finally {
      session.close();
      port1.close();
      await worker.terminate();
    }
  });
}

interface Talk {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly shared: SharedArrayBuffer;
  readonly session: RawSession;
  readonly signal: AbortSignal;
}

async function talk({ worker, port, shared, session, signal }: Talk): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const flag = new Int32Array(shared);
  const bridge = new SessionBridge(session);
  const pass = async (bytes: Uint8Array): Promise<void> => {
    port.postMessage(await bridge.answer(Buffer.from(bytes)));
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
  };
  port.on('message', (bytes: Uint8Array) => {
    void pass(bytes).catch(reject);
  });
  worker.on('error', (error) => reject(error));
  worker.on('exit', () => reject(new Error('the thread of pg_dump ended')));
  worker.on('message', (result: WasmDumpResult) => {
    if (result.kind === 'done') resolve(result.text);
    else reject(new Error(result.reason));
  });
  signal.addEventListener('abort', () => reject(new Error('the deadline has passed')), { once: true });
  try {
    return await promise;
  } catch (error) {
    throw error instanceof PlatformError ? error : dumpFailed(messageOf(error), error);
  }
}

/** Tells from what pg_dump writes when an answer is due: its messages come whole, in parts, or several at once. */
class SessionBridge {
  readonly #session: RawSession;
  readonly #frames = new FrameReader();
  #hasStarted = false;
  #answeredBytes = 0;

  constructor(session: RawSession) {
    this.#session = session;
  }

  async answer(bytes: Buffer): Promise<Buffer> {
    this.#frames.push(bytes);
    if (!this.#hasStarted) return this.#start();
    let due = 0;
    for (;;) {
      const frame = this.#frames.takeMessage(QUERY_MAX_BYTES);
      if (!frame) break;
      // To Terminate there is no answer; the session ends with the dump.
      if (frame.type === 'X') continue;
      this.#session.socket.write(frame.raw);
      if (frame.type === 'Q' || frame.type === 'S') due++;
    }
    return await this.#read(due);
  }

  /** The login has been done: whoever it says that it is, it is let in. */
  #start(): Buffer {
    const body = this.#frames.takePacket(STARTUP_BODY_MAX_BYTES);
    if (!body) return Buffer.alloc(0);
    if (parseStartupPacket(body).kind !== 'startup') return Buffer.from('N');
    this.#hasStarted = true;
    return Buffer.concat([authenticationOk(), this.#session.greeting]);
  }

  /** All messages up to and with the last ReadyForQuery that is due. */
  async #read(due: number): Promise<Buffer> {
    const messages: Buffer[] = [];
    for (let left = due; left > 0;) {
      const { type, raw } = await this.#session.next();
      messages.push(raw);
      this.#answeredBytes += raw.length;
      if (this.#answeredBytes > ANSWERS_MAX_BYTES) {
        throw new PlatformError('INTERNAL', 'Cannot read the schema: it is too large');
      }
      if (type === 'Z') left--;
    }
    return Buffer.concat(messages);
  }
}
