import type { Log } from '../kernel/log.ts';
import type { StorageBackend } from './backends/backend.ts';
import type { LineageStore } from './history/lineage-store.ts';
import type { Layout } from './layout.ts';
import type { StillVolumes } from './still-volumes.ts';
import type { Turns } from './turns.ts';

/** What the parts of the volume store work with. */
export interface StoreParts {
  readonly backend: StorageBackend;
  readonly layout: Layout;
  readonly lineages: LineageStore;
  /** One at a time changes a lineage or takes WAL from it: turns by volume id. Held briefly, never while another is. */
  readonly lineageTurns: Turns;
  readonly still: StillVolumes;
  readonly log: Log;
}
