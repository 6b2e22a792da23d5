/** How much room volumes have, in bytes: `space` of `GET /status/storage`, and what `POST /status/storage/grow` answers. */
export interface StorageSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly diskFreeBytes: number;
  readonly isDiskFull: boolean;
  readonly pool: {
    readonly filesystem: string;
    readonly imagePath: string;
    readonly allocatedBytes: number;
    readonly bytesMax: number | null;
  } | null;
}

/** What `GET /status/storage` of the API answers. */
export interface StorageReport {
  readonly storage: { readonly backend: string; readonly location: string; readonly advice: string | null };
  readonly space: StorageSpace;
  /** In all; `volumes` has the largest. */
  readonly volumes_count: number;
  readonly volumes: readonly ReportedVolume[];
}

export interface ReportedVolume {
  readonly kind: 'branch' | 'deleted_branch' | 'snapshot' | 'replica';
  readonly id: string;
  readonly name: string | null;
  readonly parent_id: string | null;
  readonly project_id: string;
  readonly project_name: string;
  /** Null: not there now. */
  readonly logical_bytes: number | null;
  readonly exclusive_bytes: number | null;
  /** Null: the filesystem cannot tell. */
  readonly shared_bytes: number | null;
  readonly history_bytes: number | null;
}
