import { PlatformError } from '../../kernel/errors.ts';
import type { Host, HostInfo } from '../../host/host.ts';
import type { PlatformDeps } from '../context.ts';

const SUPPORTED = [14, 15, 16, 17, 18];
export const DEFAULT_PG_VERSION = 17;

/** Remembers what a host last said of itself, since every creation asks. */
export class HostEngines {
  readonly #host: Host;
  #info: HostInfo | undefined;

  constructor({ host }: Pick<PlatformDeps, 'host'>) {
    this.#host = host;
  }

  /**
   * The host that can run this version. An engine that is not known of is asked for anew: it may just have come.
   * @throws PlatformError UNKNOWN_PG_VERSION, ENGINE_NOT_INSTALLED, HOST_UNAVAILABLE
   */
  async getHostFor(pgVersion: number): Promise<{ readonly hostId: string }> {
    if (!SUPPORTED.includes(pgVersion)) {
      throw new PlatformError(
        'UNKNOWN_PG_VERSION',
        `Cannot accept project.pg_version: it takes one of ${SUPPORTED.join(', ')}`,
      );
    }
    if (!this.#info || !hasEngine(this.#info, pgVersion)) this.#info = await this.#host.info();
    if (hasEngine(this.#info, pgVersion)) return { hostId: this.#info.hostId };
    throw new PlatformError(
      'ENGINE_NOT_INSTALLED',
      `Cannot create a project with Postgres ${pgVersion}: it is not installed. Run "./tenantry engine install ${pgVersion}" on the host`,
    );
  }
}

const hasEngine = (info: HostInfo, pgVersion: number): boolean =>
  info.engines.some((engine) => engine.pgVersion === pgVersion);
