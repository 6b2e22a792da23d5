/** What the supervisor and its processes say to each other over the IPC channel. */
export type ChildMessage =
  | {
      readonly kind: 'ready';
      readonly pgPort?: number;
      readonly apiPort?: number;
      readonly metadataPid?: number | null;
    }
  /** Somebody sent the process SIGTERM; it goes on until it is told how to end. */
  | { readonly kind: 'terminated' }
  /** A start-up failure for people; the process exits next. */
  | { readonly kind: 'fatal'; readonly message: string };

export type SupervisorMessage =
  /** `stop` ends what the process owns (computes, the metadata Postgres); `detach` leaves that running. */
  { readonly kind: 'end'; readonly mode: EndMode };

export type EndMode = 'stop' | 'detach';

/** One of our processes, as its module starts it. */
export interface RunningProcess {
  /** What the supervisor is told, now and whenever the process announces a change. */
  ready(): Omit<Extract<ChildMessage, { kind: 'ready' }>, 'kind'>;
  end(mode: EndMode): Promise<void>;
}

/** `<dataDir>/processes.json`: who runs, for `tenantry status`, for the next start, and for people. */
export interface ProcessesFile {
  readonly supervisor: number;
  readonly control: number | null;
  readonly host: number | null;
  readonly gateways: readonly (number | null)[];
  readonly metadata: number | null;
  readonly apiPort: number;
  readonly pgPort: number;
  readonly httpsPort: number;
  /** Process start times by pid (`/proc/<pid>/stat`, clock ticks), so that a reused pid is not taken for ours. */
  readonly startTimes: Readonly<Record<string, string>>;
}
