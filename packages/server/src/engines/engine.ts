/** What people are told of an engine. */
export interface EngineSummary {
  /** Major version, such as 17. */
  readonly pgVersion: number;
  /** Such as `17.10`. */
  readonly fullVersion: string;
  readonly source: 'npm' | 'system';
}

/** A Postgres installation that tenants' OS users can execute. */
export interface Engine extends EngineSummary {
  /** Absolute paths. */
  readonly postgresPath: string;
  readonly initdbPath: string;
  /** Environment that the binaries need (library path); merged over an otherwise empty one. */
  readonly env: Readonly<Record<string, string>>;
}

/** Versions that Tenantry can run. */
export const PG_VERSIONS = [14, 15, 16, 17, 18] as const;
export const DEFAULT_PG_VERSION = 17;

export interface EngineStore {
  /**
   * The engine of a major version, made executable for tenants on first use.
   * @throws PlatformError UNKNOWN_PG_VERSION, ENGINE_NOT_INSTALLED (names the command that installs it)
   */
  get(pgVersion: number): Promise<Engine>;
  /** The engines that are here, lowest version first. Has those made ready that are not yet, without waiting for it. */
  summaries(): Promise<readonly EngineSummary[]>;
}
