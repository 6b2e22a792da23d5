import { join } from 'node:path';
import { dataPathOf } from './backends/backend.ts';
import type { RestorePoint } from './history/lineage.ts';

/** Where things are: trees below the backend's root, WAL and history on the host's own filesystem (links do not cross). */
export class Layout {
  readonly hostDir: string;
  readonly root: string;

  constructor(hostDir: string, root: string) {
    this.hostDir = hostDir;
    this.root = root;
  }

  treeDir(name: 'volumes' | 'points' | 'staging' | 'trash'): string {
    return join(this.root, name);
  }

  logDir(name: 'wal' | 'history' | 'archive'): string {
    return join(this.hostDir, name);
  }

  volumeDir(volumeId: string): string {
    return join(this.treeDir('volumes'), volumeId);
  }

  dataPath(volumeId: string): string {
    return dataPathOf(this.volumeDir(volumeId));
  }

  walDir(volumeId: string): string {
    return join(this.logDir('wal'), volumeId);
  }

  historyDir(volumeId: string): string {
    return join(this.logDir('history'), volumeId);
  }

  archiveDir(volumeId: string): string {
    return join(this.logDir('archive'), volumeId);
  }

  pointTree({ pointId, place }: RestorePoint): string {
    return place === 'points' ? join(this.treeDir('points'), pointId) : join(this.root, 'templates', pointId, 'tree');
  }
}
