import { Agent, request, type IncomingMessage } from 'node:http';
import { ERROR_CODES, type ErrorCode } from '@tenantry/contract/error-codes.ts';
import type { EndpointId } from '@tenantry/contract/ids.ts';
import { codeOf, PlatformError } from '../kernel/errors.ts';
import { sleep } from '../kernel/wait.ts';
import type {
  BranchVolume,
  ComputeAddress,
  CreateReplicaVolume,
  CreateVolume,
  DumpSchema,
  EndpointReport,
  EndpointSpec,
  Host,
  HostInfo,
  Moment,
  MomentRequest,
  StorageSpace,
  VolumeHistory,
  VolumeId,
  VolumeUsage,
} from './host.ts';
import type { ErrorBody, HostMethod } from './host-protocol.ts';

export interface HostClientOptions {
  readonly socketPath: string;
  /** How long a host that does not answer is tried again: one that restarts must look slow, not broken. */
  readonly retryMs?: number;
}

const RETRY_MS = 15_000;
const RETRY_PAUSE_MS = 50;
const STREAM_PAUSE_MS = 500;

/** The connection failed, not the call. All calls are idempotent, so each of these may be tried again. */
const CONNECTION_CODES = new Set(['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE', 'EAGAIN']);

/**
 * The host of this machine, seen from another process.
 * @throws PlatformError HOST_UNAVAILABLE if it does not answer for `retryMs`; what the host throws comes through
 */
export class HostClient implements Host {
  readonly #socketPath: string;
  readonly #retryMs: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 64 });

  constructor({ socketPath, retryMs = RETRY_MS }: HostClientOptions) {
    this.#socketPath = socketPath;
    this.#retryMs = retryMs;
  }

  async info(signal?: AbortSignal): Promise<HostInfo> {
    return (await this.#call('info', [], signal)) as HostInfo;
  }

  async createVolume(volume: CreateVolume): Promise<void> {
    await this.#call('createVolume', [volume]);
  }

  async branchVolume(request: BranchVolume): Promise<Moment> {
    return (await this.#call('branchVolume', [request])) as Moment;
  }

  async createReplicaVolume(request: CreateReplicaVolume): Promise<void> {
    await this.#call('createReplicaVolume', [request]);
  }

  async createSchemaOnlyVolume(request: BranchVolume): Promise<void> {
    await this.#call('createSchemaOnlyVolume', [request]);
  }

  async dumpSchema(request: DumpSchema): Promise<string> {
    return (await this.#call('dumpSchema', [request])) as string;
  }

  async archiveVolume(volumeId: VolumeId): Promise<{ archived: boolean }> {
    return (await this.#call('archiveVolume', [volumeId])) as { archived: boolean };
  }

  async unarchiveVolume(volumeId: VolumeId): Promise<void> {
    await this.#call('unarchiveVolume', [volumeId]);
  }

  async archivedVolumes(): Promise<readonly VolumeId[]> {
    return (await this.#call('archivedVolumes', [])) as readonly VolumeId[];
  }

  async deleteVolume(volumeId: VolumeId): Promise<void> {
    await this.#call('deleteVolume', [volumeId]);
  }

  async volumeUsage(volumeId: VolumeId): Promise<VolumeUsage> {
    return (await this.#call('volumeUsage', [volumeId])) as VolumeUsage;
  }

  async volumeHistory(volumeId: VolumeId): Promise<VolumeHistory> {
    return (await this.#call('volumeHistory', [volumeId])) as VolumeHistory;
  }

  async findMoment(volumeId: VolumeId, at: MomentRequest): Promise<Moment> {
    return (await this.#call('findMoment', [volumeId, at])) as Moment;
  }

  async setHistoryRetention(volumeId: VolumeId, seconds: number): Promise<void> {
    await this.#call('setHistoryRetention', [volumeId, seconds]);
  }

  async storageSpace(): Promise<StorageSpace> {
    return (await this.#call('storageSpace', [])) as StorageSpace;
  }

  async growStorage(bytesMax: number | null): Promise<StorageSpace> {
    return (await this.#call('growStorage', [bytesMax])) as StorageSpace;
  }

  async applySpec(spec: EndpointSpec): Promise<void> {
    await this.#call('applySpec', [spec]);
  }

  async removeEndpoint(endpointId: EndpointId, volumesToGo: readonly VolumeId[] = []): Promise<void> {
    await this.#call('removeEndpoint', [endpointId, volumesToGo]);
  }

  async acquire(endpointId: EndpointId, signal?: AbortSignal): Promise<ComputeAddress> {
    return (await this.#call('acquire', [endpointId], signal)) as ComputeAddress;
  }

  async suspend(endpointId: EndpointId): Promise<void> {
    await this.#call('suspend', [endpointId]);
  }

  async restart(endpointId: EndpointId): Promise<void> {
    await this.#call('restart', [endpointId]);
  }

  async applyCatalog(endpointId: EndpointId, seq: number): Promise<void> {
    await this.#call('applyCatalog', [endpointId, seq]);
  }

  async findRoleVerifier(endpointId: EndpointId, role: string, signal?: AbortSignal): Promise<string | undefined> {
    return ((await this.#call('findRoleVerifier', [endpointId, role], signal)) as string | null) ?? undefined;
  }

  async acknowledgeRuns(computeIds: readonly string[]): Promise<void> {
    await this.#call('acknowledgeRuns', [computeIds]);
  }

  /** Comes back by itself after the host was away, with all that it missed. */
  async *reports(sinceVersion: number, signal: AbortSignal): AsyncGenerator<EndpointReport> {
    let since = sinceVersion;
    while (!signal.aborted) {
      try {
        const response = await this.#send('GET', `/reports?since=${since}`, undefined, signal);
        for await (const line of readLines(response)) {
          const report = JSON.parse(line) as EndpointReport;
          since = report.version;
          yield report;
        }
      } catch (error) {
        if (!signal.aborted && !isConnectionError(error)) throw error;
      }
      await sleep(STREAM_PAUSE_MS, signal).catch(() => undefined);
    }
  }

  /** Closes idle connections. */
  close(): void {
    this.#agent.destroy();
  }

  async #call(method: HostMethod, args: readonly unknown[], signal?: AbortSignal): Promise<unknown> {
    const body = JSON.stringify(args);
    const deadlineAt = performance.now() + this.#retryMs;
    for (;;) {
      try {
        const response = await this.#send('POST', `/${method}`, body, signal);
        const answer: unknown = JSON.parse(await readText(response));
        if (response.statusCode === 200) return answer;
        const error = toPlatformError(answer as ErrorBody);
        // The host that stops is followed by one that serves.
        if (error.code !== 'SHUTTING_DOWN' || performance.now() > deadlineAt) throw error;
      } catch (error) {
        signal?.throwIfAborted();
        if (!isConnectionError(error)) throw error;
        if (performance.now() > deadlineAt) {
          throw new PlatformError('HOST_UNAVAILABLE', 'Cannot reach the host process: it does not answer', {
            cause: error,
          });
        }
      }
      await sleep(RETRY_PAUSE_MS, signal);
    }
  }

  async #send(
    method: 'GET' | 'POST',
    path: string,
    body: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const sent = request({
      socketPath: this.#socketPath,
      method,
      path,
      agent: this.#agent,
      ...(signal ? { signal } : {}),
      ...(body === undefined ? {} : { headers: { 'content-length': Buffer.byteLength(body) } }),
    });
    sent.once('response', resolve);
    sent.once('error', reject);
    sent.end(body);
    return await promise;
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** The whole lines of a response. @throws ECONNRESET if it ends early */
async function* readLines(response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

const isConnectionError = (error: unknown): boolean => CONNECTION_CODES.has(codeOf(error) ?? '');

function toPlatformError({ code, message, details }: ErrorBody): PlatformError {
  const known = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'INTERNAL';
  return new PlatformError(known, message, { details });
}
