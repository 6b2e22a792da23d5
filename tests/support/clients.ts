import { Client, type ClientConfig } from 'pg';

/** A session that was opened and the row that it gave, or the error that it met. */
export interface Visit {
  readonly value?: string;
  /** Where it failed: before the session was ready, or after. */
  readonly failedAt?: 'connect' | 'query';
  readonly error?: Error & { readonly code?: string };
  readonly elapsedMs: number;
  /** By `performance.now()`; none if the session was never ready. */
  readonly openedAtMs?: number;
  readonly endedAtMs: number;
}

/** Connects, asks for one value, leaves. Never throws. */
export async function visit(uri: string, sql = 'SELECT 1', config: ClientConfig = {}): Promise<Visit> {
  const began = performance.now();
  const client = new Client({
    connectionString: uri,
    connectionTimeoutMillis: 60_000,
    query_timeout: 60_000,
    ...config,
  });
  // What the server said as it ended the session; pg tells later queries only that there is no session.
  let farewell: unknown;
  client.on('error', (error) => (farewell ??= error));
  let openedAtMs: number | undefined;
  const times = (): Pick<Visit, 'elapsedMs' | 'endedAtMs' | 'openedAtMs'> => {
    const endedAtMs = performance.now();
    return { elapsedMs: endedAtMs - began, endedAtMs, ...(openedAtMs === undefined ? {} : { openedAtMs }) };
  };
  try {
    await client.connect();
    openedAtMs = performance.now();
    const { rows } = await client.query<[unknown]>({ text: sql, rowMode: 'array' });
    return { value: String(rows[0]?.[0]), ...times() };
  } catch (error) {
    const failedAt = openedAtMs === undefined ? 'connect' : 'query';
    return { failedAt, error: (farewell ?? error) as Error, ...times() };
  } finally {
    await client.end().catch(() => {});
  }
}

/** The distinct errors of many visits, with their number. */
export function errorsOf(visits: readonly Visit[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { error, failedAt } of visits) {
    if (!error) continue;
    const key = `${failedAt}: ${error.code ?? ''} ${error.message}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
