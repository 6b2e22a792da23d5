import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runOk } from '../tests/support/run.ts';

/** Megabytes of tables and indexes per unit of pgbench's scale. */
const MB_PER_SCALE = 15;

/** Fills a database with pgbench's tables, of about this many megabytes. */
export async function loadPgbench(uri: string, megabytes: number): Promise<void> {
  const scale = String(Math.max(1, Math.round(megabytes / MB_PER_SCALE)));
  await runOk('pgbench', ['-i', '-q', '-s', scale, uri], { timeoutMs: 3_600_000 });
}

/** TPC-B with four clients for some seconds: transactions a second. */
export async function tpcB(uri: string, seconds: number): Promise<number> {
  const output = await runOk('pgbench', ['-n', '-c', '4', '-j', '2', '-T', String(seconds), uri], {
    timeoutMs: seconds * 1000 + 60_000,
  });
  const tps = /^tps = ([\d.]+)/m.exec(output)?.[1];
  if (tps === undefined) throw new Error(`pgbench told no tps:\n${output}`);
  return Number(tps);
}

/** TPC-B in the background, with the latency of every transaction. */
export class PgbenchLoad {
  readonly #directory = mkdtempSync('/tmp/tenantry-pgbench-');
  readonly #child: ReturnType<typeof spawn>;
  #stderr = '';

  /** @param rate transactions per second; as many as go if left out */
  constructor(uri: string, rate?: number) {
    const log = ['-l', `--log-prefix=${join(this.#directory, 'log')}`];
    // With a few clients a paced load would wait for one of its own rather than for the database.
    const pace = rate === undefined ? ['-c', '4'] : ['-c', '16', '-R', String(rate)];
    const args = ['-n', ...pace, '-j', '2', '-T', '36000', ...log, uri];
    this.#child = spawn('pgbench', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
  }

  /** Ends it, and gives the latencies in milliseconds. @throws Error if it had ended by itself */
  async stop(): Promise<number[]> {
    const child = this.#child;
    if (child.exitCode !== null) throw new Error(`pgbench ended by itself with ${child.exitCode}\n${this.#stderr}`);
    const exited = once(child, 'exit');
    child.kill('SIGINT');
    await exited;
    const latencies = readdirSync(this.#directory).flatMap((name) =>
      readFileSync(join(this.#directory, name), 'utf8')
        .split('\n')
        .flatMap((line) => {
          const [, , microseconds] = line.split(' ');
          return microseconds === undefined ? [] : [Number(microseconds) / 1000];
        }),
    );
    rmSync(this.#directory, { recursive: true });
    return latencies;
  }
}
