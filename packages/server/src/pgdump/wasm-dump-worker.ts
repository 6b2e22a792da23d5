import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { pgDump } from '@electric-sql/pglite-tools/pg_dump';
import type { WasmDumpData, WasmDumpResult } from './run-wasm-dump.ts';

/**
 * Runs `pg_dump` as WebAssembly. To it the network is a function: bytes in, the answer out, at once. So this thread
 * hands the bytes to the one that started it, and stands still until the answer is there.
 */
const { port, signal, args } = workerData as WasmDumpData;
const flag = new Int32Array(signal);

function exchange(bytes: Uint8Array): Uint8Array {
  Atomics.store(flag, 0, 0);
  // A copy: what is given is a view of memory that moves.
  port.postMessage(bytes.slice());
  Atomics.wait(flag, 0, 0);
  return (receiveMessageOnPort(port)?.message as Uint8Array | undefined) ?? new Uint8Array();
}

/** As much of a PGlite as `pgDump` uses. */
const pg = {
  query: async () => ({ rows: [{ search_path: '' }] }),
  exec: async () => [],
  execProtocolRawStream: (bytes: Uint8Array, { onRawData }: { onRawData: (answer: Uint8Array) => void }) => {
    const answer = exchange(bytes);
    if (answer.length > 0) onRawData(answer);
  },
};

async function run(): Promise<WasmDumpResult> {
  try {
    const file = await pgDump({ pg: pg as unknown as Parameters<typeof pgDump>[0]['pg'], args: [...args] });
    return { kind: 'done', text: await file.text() };
  } catch (error) {
    return { kind: 'failed', reason: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.postMessage(await run(), []);
