/** Durations of one kind, in milliseconds. */
export interface Summary {
  readonly median_ms: number;
  readonly p95_ms: number;
  readonly p99_ms: number;
  readonly count: number;
}

export function summarize(times: readonly number[]): Summary {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return { median_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), count: sorted.length };
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

export const round = (value: number): number => Math.round(value * 100) / 100;

export async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

export const print = (result: object): void => {
  process.stdout.write(`${JSON.stringify(result)}\n`);
};

export const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};
