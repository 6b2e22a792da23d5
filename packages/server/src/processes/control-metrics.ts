import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ApiAnswer } from '../api/create-api-server.ts';
import type { DirectoryServer } from '../directory/directory-server.ts';
import type { Host } from '../host/host.ts';
import type { Log } from '../kernel/log.ts';
import type { StatusCounts } from '../platform/status/read-status.ts';
import { type Asked, askPart } from './ask-part.ts';
import { ACQUIRE_BUCKETS_S, CONNECT_FAILURE_KINDS } from './gateway-counters.ts';

export interface MetricsSources {
  readonly directory: Pick<DirectoryServer, 'gateways'>;
  readonly host: Pick<Host, 'info'>;
  readonly health: () => Promise<{ readonly parts: Readonly<Record<string, string>> }>;
  readonly countStatus: () => Promise<Pick<StatusCounts, 'operations' | 'endpoints'>>;
  /** Bytes by endpoint. */
  readonly replicaLags: () => Promise<Readonly<Record<string, number>>>;
  readonly log: Log;
}

/**
 * The distribution of the event loop's lag comes from a timer that fires a hundred times a second, most of what an idle
 * control would do. The lag itself (`lag_seconds`) is measured when it is asked for, and stays.
 */
const TIMED_LAGS = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'];
const NEVER_MS = 2 ** 31 - 1;

/**
 * The text of `GET /metrics`: read from where the facts are when it is asked, kept nowhere. What a part does not tell in
 * time is left out.
 */
export class ControlMetrics {
  readonly #registry = new Registry();
  readonly #sources: MetricsSources;
  readonly #answers: Histogram;

  constructor(sources: MetricsSources) {
    this.#sources = sources;
    this.#answers = new Histogram({
      name: 'tenantry_api_answer_seconds',
      help: 'Time to answer a request of the management API',
      labelNames: ['operation', 'method', 'status'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [this.#registry],
    });
    collectDefaultMetrics({
      register: this.#registry,
      prefix: 'tenantry_control_',
      eventLoopMonitoringPrecision: NEVER_MS,
    });
    for (const part of TIMED_LAGS)
      this.#registry.removeSingleMetric(`tenantry_control_nodejs_eventloop_lag_${part}_seconds`);
  }

  answered({ operationId, method, status, durationMs }: ApiAnswer): void {
    this.#answers.observe({ operation: operationId, method, status }, durationMs / 1_000);
  }

  async text(): Promise<string> {
    const facts = await this.#readFacts();
    return `${await this.#registry.metrics()}${await facts.metrics()}${this.#gatewayText()}`;
  }

  /** What the parts say now, in gauges of this one answer: no value of an earlier one can stay in them. */
  async #readFacts(): Promise<Registry> {
    const { host, health, countStatus, replicaLags } = this.#sources;
    const [{ parts }, info, counts, lags] = await Promise.all([
      health(),
      this.#read('ask the host', (signal) => host.info(signal)),
      this.#read('count operations and endpoints', countStatus),
      this.#read('read how far replicas are behind', replicaLags),
    ]);
    const registry = new Registry();
    const up = Object.entries(parts).map(([part, state]) => [part, state === 'ok' ? 1 : 0] as const);
    addGauge(registry, 'tenantry_part_up', 'Whether a part of the platform serves', 'part', Object.fromEntries(up));
    if (info) {
      addGauge(registry, 'tenantry_computes_awake', 'Computes that are awake', null, info.computesAwake);
      const most = 'Computes that may be awake at once';
      addGauge(registry, 'tenantry_computes_awake_max', most, null, info.computesAwakeMax);
    }
    if (counts) {
      addGauge(registry, 'tenantry_operations', 'Operations by status', 'status', counts.operations);
      addGauge(registry, 'tenantry_endpoints', 'Endpoints by state', 'state', counts.endpoints);
    }
    const lag = 'WAL that an awake read replica has still to replay';
    if (lags) addGauge(registry, 'tenantry_replica_lag_bytes', lag, 'endpoint', lags);
    return registry;
  }

  async #read<T>(what: string, work: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
    const { value, problem }: Asked<T> = await askPart(what, work);
    if (problem !== null) this.#sources.log.warn({ problem }, 'metrics left out');
    return value;
  }

  /** Gateways send totals, which prom-client's counters cannot take over as they are. */
  #gatewayText(): string {
    const gateways = this.#sources.directory.gateways();
    const family = (
      name: string,
      help: string,
      type: string,
      rows: (of: (key: string) => number, labels: string) => string[],
    ): string => {
      const lines = gateways.flatMap(({ gateway, counters }) =>
        rows((key) => counters[key] ?? 0, `gateway="${gateway}"`),
      );
      return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines, ''].join('\n');
    };
    const wake = 'tenantry_gateway_acquire_seconds';
    return [
      family('tenantry_gateway_sessions', 'Open sessions', 'gauge', (of, labels) => [
        `tenantry_gateway_sessions{${labels}} ${of('sessions_opened') - of('sessions_closed')}`,
      ]),
      family('tenantry_gateway_sessions_total', 'Sessions opened', 'counter', (of, labels) => [
        `tenantry_gateway_sessions_total{${labels}} ${of('sessions_opened')}`,
      ]),
      family('tenantry_gateway_bytes_total', 'Bytes of ended sessions', 'counter', (of, labels) => [
        `tenantry_gateway_bytes_total{${labels},direction="to_client"} ${of('bytes_to_client')}`,
        `tenantry_gateway_bytes_total{${labels},direction="from_client"} ${of('bytes_from_client')}`,
      ]),
      family('tenantry_gateway_connects_failed_total', 'Connects that gave no session', 'counter', (of, labels) =>
        CONNECT_FAILURE_KINDS.map(
          (kind) => `tenantry_gateway_connects_failed_total{${labels},kind="${kind}"} ${of(`connect_failed_${kind}`)}`,
        ),
      ),
      family(wake, 'From an authenticated client to a compute that is ready for it', 'histogram', (of, labels) => [
        ...ACQUIRE_BUCKETS_S.map((bound) => `${wake}_bucket{${labels},le="${bound}"} ${of(`acquire_le_${bound}`)}`),
        `${wake}_bucket{${labels},le="+Inf"} ${of('acquire_count')}`,
        `${wake}_sum{${labels}} ${of('acquire_seconds_sum')}`,
        `${wake}_count{${labels}} ${of('acquire_count')}`,
      ]),
    ].join('');
  }
}

/** A gauge of one value, or (with a label) of one for each of its values. */
function addGauge(
  registry: Registry,
  name: string,
  help: string,
  ...[label, value]: [label: null, value: number] | [label: string, value: Readonly<Record<string, number>>]
): void {
  const gauge = new Gauge({ name, help, labelNames: label === null ? [] : [label], registers: [registry] });
  if (label === null) gauge.set(value);
  else for (const [of, amount] of Object.entries(value)) gauge.set({ [label]: of }, amount);
}
