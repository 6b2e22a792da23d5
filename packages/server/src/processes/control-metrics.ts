import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ApiAnswer } from '../api/create-api-server.ts';
import type { DirectoryServer } from '../directory/directory-server.ts';
import type { Host, HostInfo } from '../host/host.ts';
import { ACQUIRE_BUCKETS_S, CONNECT_FAILURE_KINDS } from './gateway-counters.ts';

interface MetricsSources {
  readonly directory: Pick<DirectoryServer, 'gateways'>;
  readonly host: Pick<Host, 'info'>;
  /** Unfinished and failed operations by status. */
  readonly countOperations: () => Promise<Readonly<Record<string, number>>>;
  readonly countEndpoints: () => Promise<Readonly<Record<string, number>>>;
  /** Bytes by endpoint. */
  readonly replicaLags: () => Promise<Readonly<Record<string, number>>>;
}

/**
 * The distribution of the event loop's lag comes from a timer that fires a hundred times a second, most of what an idle
 * control would do. The lag itself (`lag_seconds`) is measured when it is asked for, and stays.
 */
const TIMED_LAGS = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'];
const NEVER_MS = 2 ** 31 - 1;

/** The text of `GET /metrics`: read from where the facts are when it is asked, kept nowhere. */
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
    this.#addHost();
    this.#addCounts('tenantry_operations', 'Operations by status', 'status', sources.countOperations);
    this.#addCounts('tenantry_endpoints', 'Endpoints by state', 'state', sources.countEndpoints);
    const lag = 'WAL that an awake read replica has still to replay';
    this.#addCounts('tenantry_replica_lag_bytes', lag, 'endpoint', sources.replicaLags);
  }

  answered({ operationId, method, status, durationMs }: ApiAnswer): void {
    this.#answers.observe({ operation: operationId, method, status }, durationMs / 1_000);
  }

  async text(): Promise<string> {
    return `${await this.#registry.metrics()}${this.#gatewayText()}`;
  }

  #addHost(): void {
    const { host } = this.#sources;
    const registers = [this.#registry];
    const gauge = (name: string, help: string, value: (info: HostInfo) => number): Gauge =>
      new Gauge({
        name,
        help,
        registers,
        async collect(): Promise<void> {
          this.set(value(await host.info()));
        },
      });
    gauge('tenantry_computes_awake', 'Computes that are awake', (info) => info.computesAwake);
    gauge('tenantry_computes_awake_max', 'Computes that may be awake at once', (info) => info.computesAwakeMax);
  }

  #addCounts(name: string, help: string, label: string, count: () => Promise<Readonly<Record<string, number>>>): void {
    void new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      async collect(): Promise<void> {
        this.reset();
        for (const [value, amount] of Object.entries(await count())) this.set({ [label]: value }, amount);
      },
    });
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
