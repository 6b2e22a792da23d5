import { mkdir } from 'node:fs/promises';
import { PlatformError } from '../../kernel/errors.ts';
import { readControlFile } from '../../wal/control-file.ts';
import { findEndOfWal } from '../../wal/find-end.ts';
import { dataPathOf } from '../backends/backend.ts';
import type { StoreParts } from '../store-parts.ts';
import type { Template } from '../template-store.ts';
import type { Volume } from '../volume-store.ts';
import { archiveWal } from './archive-wal.ts';
import { readLiveControlFile } from './find-head.ts';
import type { Lineage } from './lineage.ts';
import { openLineageWal, timelineOf } from './lineage-wal.ts';
import { timeUsOf } from './time-us.ts';

/** What volumes have that were made before there was history. */
const DEFAULT_RETENTION_SECONDS = 24 * 60 * 60;

interface NewLineage {
  readonly volumeId: string;
  readonly template: Template;
  readonly retentionSeconds: number;
}

/** Begins the history of a volume whose WAL is unpacked: its first restore point is the template itself. */
export async function beginLineage({ layout, lineages }: StoreParts, created: NewLineage): Promise<void> {
  const { volumeId, template, retentionSeconds } = created;
  const historyPath = layout.historyDir(volumeId);
  await mkdir(historyPath, { recursive: true, mode: 0o700 });
  await archiveWal({ walPath: layout.walDir(volumeId), historyPath, from: 0n });
  const { control } = await readControlFile(dataPathOf(template.treePath));
  const { timeline, redo } = control;
  const lsn = await findEndOfWal(await openLineageWal(historyPath, timeline), redo);
  const now = new Date();
  await lineages.put({
    volumeId,
    retentionSeconds,
    begin: { lsn, timeline, timeUs: timeUsOf(now) },
    originId: null,
    points: [
      {
        pointId: template.name,
        place: 'templates',
        kind: 'clean',
        timeline,
        redoLsn: redo,
        consistentLsn: lsn,
        takenAt: now,
      },
    ],
  });
}

/** The lineage of a volume; one that was made before there was history begins it here, without a point. */
export async function ensureLineage({ layout, lineages }: StoreParts, volume: Volume): Promise<Lineage> {
  const present = await lineages.find(volume.volumeId);
  if (present) return present;
  if (volume.replicaOf !== null) {
    throw new PlatformError(
      'NOT_FOUND',
      `Cannot find the history of volume ${volume.volumeId}: a read replica has none`,
    );
  }
  const { control } = await readLiveControlFile(volume.dataPath);
  const lineage: Lineage = {
    volumeId: volume.volumeId,
    retentionSeconds: DEFAULT_RETENTION_SECONDS,
    begin: { lsn: control.redo, timeline: timelineOf(control), timeUs: timeUsOf(new Date()) },
    originId: null,
    points: [],
  };
  await lineages.put(lineage);
  const historyPath = layout.historyDir(volume.volumeId);
  await archiveWal({ walPath: volume.walPath, historyPath, from: 0n });
  return lineage;
}
