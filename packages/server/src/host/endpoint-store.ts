import { access, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { EndpointId } from '@tenantry/contract/ids.ts';
import { readFileIfExists, removeUnfinishedFiles, syncDirectory, writeFileAtomic } from '../kernel/atomic-file.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { EndpointReport, EndpointSpec } from './host.ts';

/**
 * What the host keeps of its endpoints, a directory each: `spec.json`, as control sent it, and `report.json`, the last
 * report. A sleeping endpoint is these two files and a number in memory. Without `spec.json` it has been removed, and
 * the report holds usage that is still to be acknowledged. A file that is damaged counts as one that is not there.
 */
export class EndpointStore {
  readonly #path: string;
  readonly #log: Log;

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /** Ids of all endpoints; removes what a crash left of a removal. */
  async list(): Promise<EndpointId[]> {
    await mkdir(this.#path, { recursive: true, mode: 0o700 });
    const names = await readdir(this.#path);
    for (const name of names.filter((n) => n.endsWith(REMOVED))) await this.#delete(name);
    return names.filter((name): name is EndpointId => name.startsWith('ep-') && !name.endsWith(REMOVED));
  }

  async findSpec(endpointId: EndpointId): Promise<EndpointSpec | undefined> {
    return await this.#read<EndpointSpec>(endpointId, SPEC);
  }

  async findReport(endpointId: EndpointId): Promise<EndpointReport | undefined> {
    return await this.#read<EndpointReport>(endpointId, REPORT);
  }

  /** Removes what a killed host left half written of an endpoint; tells whether the endpoint has been removed. */
  async tidy(endpointId: EndpointId): Promise<{ readonly isRemoved: boolean }> {
    const directory = join(this.#path, endpointId);
    await removeUnfinishedFiles(directory);
    const isRemoved = await access(join(directory, SPEC)).then(
      () => false,
      () => true,
    );
    return { isRemoved };
  }

  async writeSpec(spec: EndpointSpec): Promise<void> {
    const directory = join(this.#path, spec.endpointId);
    const isNew = (await mkdir(directory, { recursive: true, mode: 0o700 })) !== undefined;
    await writeFileAtomic(join(directory, SPEC), JSON.stringify(spec));
    if (isNew) await syncDirectory(this.#path);
  }

  async writeReport(report: EndpointReport): Promise<void> {
    await writeFileAtomic(join(this.#path, report.endpointId, REPORT), JSON.stringify(report));
  }

  /** Keeps the report of an endpoint that is removed. */
  async retire(report: EndpointReport): Promise<void> {
    await this.writeReport(report);
    const directory = join(this.#path, report.endpointId);
    await rm(join(directory, SPEC), { force: true });
    await syncDirectory(directory);
  }

  /** Forgets an endpoint: whole, or not at all. */
  async remove(endpointId: EndpointId): Promise<void> {
    const removed = `${endpointId}${REMOVED}`;
    await rename(join(this.#path, endpointId), join(this.#path, removed)).catch(() => undefined);
    await syncDirectory(this.#path);
    await this.#delete(removed);
  }

  async #read<T>(endpointId: EndpointId, name: string): Promise<T | undefined> {
    const text = await readFileIfExists(join(this.#path, endpointId, name));
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      this.#log.error({ endpointId, file: name, error: messageOf(error) }, 'damaged file of an endpoint left out');
      return undefined;
    }
  }

  async #delete(name: string): Promise<void> {
    await rm(join(this.#path, name), { recursive: true, force: true });
  }
}

/** Of an endpoint that has never run. */
export function newReport(
  { endpointId, generation }: Pick<EndpointSpec, 'endpointId' | 'generation'>,
  version: number,
): EndpointReport {
  return {
    endpointId,
    version,
    generation,
    state: 'idle',
    startedAt: null,
    suspendedAt: null,
    lastActiveAt: null,
    failure: null,
    catalogAppliedSeq: 0,
    catalog: null,
    logicalBytes: null,
    replicaLagBytes: null,
    runs: [],
  };
}

const SPEC = 'spec.json';
const REPORT = 'report.json';
/** No endpoint id holds a dot. */
const REMOVED = '.removed';
