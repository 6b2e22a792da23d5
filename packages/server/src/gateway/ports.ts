/** What the gateway needs from the rest. `processes/gateway.ts` plugs the implementations in. */

/** How to authenticate for, and reach, one endpoint. A copy of what control knows. */
export interface DirectoryEntry {
  readonly endpointId: string;
  readonly branchId: string;
  readonly projectId: string;
  readonly hostId: string;
  readonly disabled: boolean;
  /** Role name -> SCRAM verifier. Roles without one cannot log in. */
  readonly roles: Readonly<Record<string, string>>;
  /** Empty: every address may connect. Entries: single IP, CIDR, or `a-b` range. */
  readonly allowedIps: readonly string[];
}

export interface EndpointDirectory {
  /**
   * The entry as known here; asks control for one that is not, with a short deadline, and gives undefined if control
   * does not know it or is away.
   */
  find(endpointId: string): Promise<DirectoryEntry | undefined>;
}

/** An awake compute. */
export type ComputeTarget = { readonly computeId: string } & (
  | { readonly kind: 'unix'; readonly socketPath: string }
  | { readonly kind: 'tcp'; readonly hostname: string; readonly port: number }
);

export interface ComputeBroker {
  /** Wakes the endpoint's compute and gives its address once it accepts connections. Throws `PlatformError`s. */
  acquire(endpointId: string, signal: AbortSignal): Promise<ComputeTarget>;
  /**
   * The verifier of a role made by SQL moments ago, if the compute is awake; never wakes it. Strangers cause it: once the
   * signal aborts nothing of the look-up may be left.
   */
  findRoleVerifier(endpointId: string, role: string, signal: AbortSignal): Promise<string | undefined>;
}

/** Counts for metrics and metering; must not block or throw. */
export interface GatewayObserver {
  sessionOpened(endpointId: string): void;
  sessionClosed(endpointId: string, bytesToClient: number, bytesFromClient: number): void;
  /** `kind` is one of a small closed set: user, quota, rate_limited, service, compute, client_disconnect. */
  connectFailed(kind: string): void;
  /** From an authenticated client to a compute that is ready for it. */
  computeAcquired(milliseconds: number): void;
}
