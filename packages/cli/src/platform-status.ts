import { join } from 'node:path';
import type { Target } from './target.ts';

/** What `GET /status` of the API answers. What a part did not tell in time is null; `problems` says why. */
export interface PlatformStatus {
  readonly version: string;
  readonly processes: {
    readonly supervisor: number;
    readonly control: number | null;
    readonly host: number | null;
    readonly gateways: readonly (number | null)[];
    readonly metadata: number | null;
  };
  readonly parts: Readonly<Record<string, string>>;
  readonly counts: {
    readonly projects: number;
    readonly endpoints: Readonly<Record<string, number>>;
    readonly operations: Readonly<Record<string, number>>;
  } | null;
  readonly awake:
    | readonly {
        readonly endpoint_id: string;
        readonly project_id: string;
        readonly project_name: string;
        readonly since: string | null;
        readonly last_active: string | null;
        /** Null of any but a read replica. */
        readonly replica_lag_bytes: number | null;
      }[]
    | null;
  readonly host: {
    readonly engines: readonly { readonly pgVersion: number; readonly fullVersion: string; readonly source: string }[];
    readonly storage: {
      readonly backend: string;
      readonly location: string;
      readonly capabilities: { readonly cowClone: boolean; readonly atomicLiveSnapshot: boolean };
      readonly advice: string | null;
    };
    readonly isolation: { readonly osUsers: boolean; readonly cgroups: string; readonly advice: string | null };
    readonly computesAwake: number;
    readonly computesAwakeMax: number;
  } | null;
  readonly problems: { readonly counts: string | null; readonly awake: string | null; readonly host: string | null };
}

/** The platform answers within some seconds, whichever of its parts is stuck. */
const STATUS_MAX_MS = 10_000;

export async function readStatus(target: Target): Promise<PlatformStatus> {
  return (await target.call('GET', '/status', STATUS_MAX_MS)) as PlatformStatus;
}

/** What to do about a part that does not serve. */
export function adviceFor(part: string, { processes }: PlatformStatus, target: Target): string {
  const log = `see ${join(target.dataDir, 'logs', 'tenantry.log')}`;
  if (part === 'host') {
    return processes.host === null
      ? `it is being started again; running computes go on; ${log}`
      : `${log}; if it stays so: kill -9 ${processes.host}, it is started again and running computes go on`;
  }
  if (part === 'metadata') {
    const which =
      processes.metadata === null
        ? 'see that the Postgres of TENANTRY_DATABASE_URL runs (one of our own is started again)'
        : `it is process ${processes.metadata}`;
    return `known endpoints are served meanwhile; ${which}; ${log}`;
  }
  return `processes that end are started again; ${log}`;
}
