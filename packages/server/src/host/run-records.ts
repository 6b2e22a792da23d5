import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { randomText, type EndpointId } from '@tenantry/contract/ids.ts';
import type { ProcessIdentity } from '../compute/process-table.ts';
import { runDirectoryAt, type RunDirectory } from '../compute/run-directory.ts';
import type { Volume } from '../storage/volume-store.ts';

/**
 * What one life of a compute needs to be found again by the next host process. Lies in its run directory, written
 * before Postgres is spawned, so that there is no moment at which a process runs that nobody would find.
 */
export interface RunRecord {
  readonly computeId: string;
  readonly endpointId: EndpointId;
  readonly volumeId: string;
  readonly generation: number;
  readonly minCu: number;
  readonly maxCu: number;
  readonly startedAt: string;
  readonly settings: Readonly<Record<string, string>>;
  /** A life that only prepares a clone: whoever finds it ends it. */
  readonly isApart?: boolean;
}

/** A Postgres that an earlier host process started. */
export interface FoundCompute {
  readonly record: RunRecord;
  readonly identity: ProcessIdentity;
  readonly volume: Volume;
}

/** The run directories of all computes that are awake, or whose end has not been written down yet. */
export class RunRecords {
  readonly #path: string;

  constructor(runDir: string) {
    this.#path = join(runDir, 'c');
    mkdirSync(this.#path, { recursive: true, mode: 0o711 });
  }

  /** Text in the command line of every Postgres of this host, and of no other process. */
  get commandMark(): string {
    return `config_file=${this.#path}/`;
  }

  newComputeId(): string {
    return `compute-${randomText(12)}`;
  }

  /** Whether a command line is of the Postgres of this compute. */
  isOf(computeId: string, command: string): boolean {
    return command.includes(this.directoryOf(computeId).configPath);
  }

  directoryOf(computeId: string): RunDirectory {
    return runDirectoryAt(join(this.#path, shortOf(computeId)));
  }

  /**
   * Whole or not at all, also for a compute that runs: without its record the next host would stop it. No fsync, as it
   * need not outlive the boot. What a kill leaves beside it is written over by the next, and goes with the directory.
   */
  write(record: RunRecord): void {
    const path = this.#recordPath(record.computeId);
    const temporary = `${path}.tmp`;
    try {
      writeFileSync(temporary, JSON.stringify(record), { mode: 0o600 });
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  }

  /** All records; null for a directory whose record was not written whole: nothing was spawned from it. */
  list(): { readonly computeId: string; readonly record: RunRecord | null }[] {
    return readdirSync(this.#path).map((short) => {
      const computeId = `compute-${short}`;
      try {
        return { computeId, record: JSON.parse(readFileSync(this.#recordPath(computeId), 'utf8')) as RunRecord };
      } catch {
        return { computeId, record: null };
      }
    });
  }

  async remove(computeId: string): Promise<void> {
    await rm(this.directoryOf(computeId).path, { recursive: true, force: true });
  }

  #recordPath(computeId: string): string {
    return join(this.directoryOf(computeId).path, 'compute.json');
  }
}

/** The part of a compute id that names its run directory and its cgroup. */
export const shortOf = (computeId: string): string => computeId.slice('compute-'.length);
