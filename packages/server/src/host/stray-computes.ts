import { join } from 'node:path';
import { removeLog } from '../compute/postgres-log.ts';
import { adoptPostgres } from '../compute/postgres-process.ts';
import type { ProcessIdentity } from '../compute/process-table.ts';
import { messageOf } from '../kernel/errors.ts';
import type { EndpointDeps } from './endpoint.ts';
import type { VolumeId } from './host.ts';
import { shortOf } from './run-records.ts';

export type StrayComputesDeps = Pick<
  EndpointDeps,
  'volumes' | 'history' | 'records' | 'watcher' | 'cgroups' | 'computeLogsDir' | 'log'
>;

/** A Postgres that an earlier host process started, and that no endpoint takes over. */
export interface StrayCompute {
  readonly identity: ProcessIdentity;
  readonly dataPath: string;
  /** Undefined where its run directory, or its volume, is not there any more. */
  readonly computeId: string | undefined;
  readonly volumeId: VolumeId | undefined;
}

/**
 * Stops strays, each on its own and by the deadlines of any stop: a slow one holds up those who need its volume, and
 * nobody else.
 */
export class StrayComputes {
  readonly #deps: StrayComputesDeps;
  readonly #endings = new Map<Promise<void>, VolumeId | undefined>();

  constructor(deps: StrayComputesDeps) {
    this.#deps = deps;
  }

  /** Begins to stop it. Once this resolves, its volume is claimed. */
  async stop(stray: StrayCompute): Promise<void> {
    if (stray.volumeId !== undefined) await this.#deps.volumes.claim(stray.volumeId);
    const ending = this.#end(stray).finally(() => this.#endings.delete(ending));
    this.#endings.set(ending, stray.volumeId);
  }

  isOn(volumeId: VolumeId): boolean {
    return [...this.#endings.values()].includes(volumeId);
  }

  /** Resolves once no stray runs on the volume, or none at all. */
  async gone(volumeId?: VolumeId): Promise<void> {
    const endings = [...this.#endings].filter(([, of]) => volumeId === undefined || of === volumeId);
    await Promise.all(endings.map(async ([ending]) => await ending));
  }

  async #end({ identity, dataPath, computeId, volumeId }: StrayCompute): Promise<void> {
    const { volumes, history, records, watcher, cgroups, computeLogsDir, log } = this.#deps;
    const logPath = join(computeLogsDir, `${computeId}.log`);
    const volume = { dataPath, owner: null, needsPromotion: false };
    try {
      await adoptPostgres({ identity, volume, logPath, watcher }).stop();
    } catch (error) {
      // What it left running is seen out again by the next start on its volume.
      log.warn({ computeId, volumeId, error: messageOf(error) }, 'stray compute not stopped');
    }
    if (volumeId !== undefined) {
      volumes.released(volumeId);
      await history.archive(volumeId);
    }
    if (computeId === undefined) return;
    removeLog(logPath);
    try {
      await cgroups?.remove(shortOf(computeId));
      await records.remove(computeId);
    } catch (error) {
      log.warn({ computeId, error: messageOf(error) }, 'traces of a stray compute not removed');
    }
  }
}
