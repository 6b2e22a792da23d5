import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createLog } from '../../kernel/log.ts';
import { Secret } from '../../kernel/secret.ts';
import { createGateway, type Gateway, type GatewayOptions } from '../gateway.ts';
import type { ComputeBroker, ComputeTarget, DirectoryEntry, EndpointDirectory } from '../ports.ts';
import { ensureCertificates, type Certificates } from '../tls/certificates.ts';
import { TestPostgres } from './test-postgres.ts';

export const ENDPOINT = 'ep-test-endpoint-a1b2c3d4';

/** Starts and stops the one Postgres of a test, in single flight, as a host does. */
class TestBroker implements ComputeBroker {
  readonly postgres: TestPostgres;
  acquires = 0;
  #change: Promise<void> = Promise.resolve();

  constructor(postgres: TestPostgres) {
    this.postgres = postgres;
  }

  async acquire(): Promise<ComputeTarget> {
    this.acquires++;
    await this.#inTurn(async () => {
      if (!this.postgres.isRunning) await this.postgres.start();
    });
    return { computeId: `c-${this.postgres.starts}`, kind: 'unix', socketPath: this.postgres.socketPath };
  }

  async findRoleVerifier(_endpointId: string, role: string): Promise<string | undefined> {
    return this.postgres.isRunning ? await this.postgres.verifierOf(role) : undefined;
  }

  async suspend(signal: 'SIGINT' | 'SIGQUIT' = 'SIGINT'): Promise<void> {
    await this.#inTurn(() => this.postgres.stop(signal));
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#change = this.#change.then(work, work);
    return this.#change;
  }
}

export class TestDirectory implements EndpointDirectory {
  readonly entries = new Map<string, DirectoryEntry>();
  finds = 0;

  put(entry: Partial<DirectoryEntry> = {}): void {
    const endpointId = entry.endpointId ?? ENDPOINT;
    const base = {
      branchId: 'br-test',
      projectId: 'test',
      hostId: 'local',
      disabled: false,
      roles: {},
      allowedIps: [],
    };
    this.entries.set(endpointId, { ...base, ...this.entries.get(endpointId), ...entry, endpointId });
  }

  async find(endpointId: string): Promise<DirectoryEntry | undefined> {
    this.finds++;
    return this.entries.get(endpointId);
  }
}

export interface TestBed {
  readonly postgres: TestPostgres;
  readonly broker: TestBroker;
  readonly directory: TestDirectory;
  readonly certificates: Certificates;
  readonly gateway: Gateway;
  readonly port: number;
  readonly failures: string[];
  readonly sessions: { opened: number; closed: number; bytesToClient: number };
  /** Another worker on the same Postgres. */
  addGateway(options?: Partial<GatewayOptions>): Promise<{ gateway: Gateway; port: number }>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A gateway before a real Postgres with role `alice`, password `open sesame`, and database `shop`. */
export async function startTestBed(settings: Readonly<Record<string, string | number>> = {}): Promise<TestBed> {
  const postgres = await TestPostgres.create(settings);
  const broker = new TestBroker(postgres);
  const directory = new TestDirectory();
  await postgres.start();
  await postgres.admin("create role alice login password 'open sesame'");
  await postgres.admin('create database shop owner alice');
  directory.put({ roles: { alice: (await postgres.verifierOf('alice')) ?? '' } });

  const runDir = await mkdtemp('/tmp/tenantry-run-');
  const certificates = await ensureCertificates({ directory: join(runDir, 'tls'), domain: 'db.test' });
  const failures: string[] = [];
  const sessions = { opened: 0, closed: 0, bytesToClient: 0 };
  const gateways: Gateway[] = [];
  const addGateway = async (options: Partial<GatewayOptions> = {}): Promise<{ gateway: Gateway; port: number }> => {
    const gateway = createGateway({
      listenAddress: '0.0.0.0',
      pgPort: 0,
      domain: 'db.test',
      workerIndex: 0,
      workers: 1,
      runDir,
      certificates,
      mockAuthKey: new Secret(randomBytes(32)),
      directory,
      broker,
      observer: {
        sessionOpened: () => void sessions.opened++,
        sessionClosed: (_, bytesToClient) => {
          sessions.closed++;
          sessions.bytesToClient += bytesToClient;
        },
        connectFailed: (kind) => void failures.push(kind),
        computeAcquired: () => {},
      },
      log: createLog('gateway-test', 'silent'),
      drainMs: 0,
      ...options,
    });
    gateways.push(gateway);
    return { gateway, ...(await gateway.listen()) };
  };
  const { gateway, port } = await addGateway();
  return {
    postgres,
    broker,
    directory,
    certificates,
    gateway,
    port,
    failures,
    sessions,
    addGateway,
    async [Symbol.asyncDispose]() {
      await Promise.all(gateways.map((each) => each.stop()));
      await postgres.destroy();
      await rm(runDir, { recursive: true, force: true });
    },
  };
}
