/** What `GET /status` of the API answers. */
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
  };
  readonly awake: readonly {
    readonly endpoint_id: string;
    readonly project_id: string;
    readonly project_name: string;
    readonly since: string | null;
    readonly last_active: string | null;
    /** Null of any but a read replica. */
    readonly replica_lag_bytes: number | null;
  }[];
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
  };
}
