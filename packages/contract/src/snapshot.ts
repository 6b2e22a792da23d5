import {
  choice,
  count,
  flag,
  id,
  requestObject,
  responseObject,
  text,
  timestamp,
  Type,
  type Static,
} from './schema.ts';

/** As Postgres writes an LSN. */
const LSN_PATTERN = '^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$';
const SCHEDULE_ITEMS_MAX = 20;
const RETENTION_SECONDS_MIN = 3600;
/** Ten years. */
const RETENTION_SECONDS_MAX = 315_360_000;

export const lsn = (description: string) => Type.String({ pattern: LSN_PATTERN, description });

export const Snapshot = responseObject('Snapshot', {
  id: id('Snapshot id.'),
  name: Type.String(),
  lsn: Type.Optional(Type.String({ description: 'All in WAL up to it is in the snapshot.' })),
  timestamp: Type.Optional(timestamp('A time at which the branch was as the snapshot is.')),
  source_branch_id: id('The branch that it was taken of.'),
  created_at: timestamp('When it was taken.'),
  expires_at: Type.Optional(timestamp('When it is deleted.')),
  manual: flag('Taken by a client, and not by a schedule.'),
  full_size: Type.Optional(count('Bytes of all databases in it.')),
});

/** Neon takes these from the query, its guides from the body. */
export const snapshotFields = {
  lsn: Type.Optional(lsn('Of the branch; not together with timestamp. Neither: the head.')),
  timestamp: Type.Optional(timestamp('Within the history of the branch.')),
  name: Type.Optional(text(1, 256, 'By default the name of the branch and the time.')),
  expires_at: Type.Optional(timestamp('When it is to be deleted.')),
};

export const SnapshotCreateBody = requestObject(snapshotFields);

export const SnapshotUpdateBody = requestObject({
  snapshot: requestObject({
    name: Type.Optional(text(1, 256, 'New name.')),
    expires_at: Type.Optional(
      Type.Union([timestamp('When it is to be deleted.'), Type.Null()], {
        description: 'When it is to be deleted; null: never.',
      }),
    ),
  }),
});

export const SnapshotRestoreBody = requestObject({
  name: Type.Optional(text(1, 256, 'Of the new branch. By default made of the name of the snapshot.')),
  target_branch_id: Type.Optional(id('The branch to be replaced. By default the one that the snapshot was taken of.')),
  finalize_restore: Type.Optional(flag('Replace the branch at once. By default false.')),
});

export const ScheduleItem = requestObject({
  frequency: choice(['hourly', 'daily', 'weekly', 'monthly', 'yearly'], 'How often.'),
  hour: Type.Optional(Type.Integer({ minimum: 0, maximum: 23, description: 'Hour of the day in UTC. By default 0.' })),
  day: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 31,
      description: 'Day of the week (1 is Monday) or of the month, its last one if it is shorter. By default 1.',
    }),
  ),
  month: Type.Optional(Type.Integer({ minimum: 1, maximum: 12, description: 'Month of the year. By default 1.' })),
  retention_seconds: Type.Optional(
    Type.Integer({
      minimum: RETENTION_SECONDS_MIN,
      maximum: RETENTION_SECONDS_MAX,
      description: 'How long each is kept. By default for ever.',
    }),
  ),
});

const items = Type.Array(ScheduleItem, { maxItems: SCHEDULE_ITEMS_MAX });

export const BackupScheduleBody = requestObject({ schedule: items });
export const BackupSchedule = Type.Object({ schedule: items });

export const BranchRestoreBody = requestObject({
  source_branch_id: id('The branch to take the data of; may be this one.'),
  source_lsn: Type.Optional(lsn('Of the source; not together with source_timestamp. Neither: its head.')),
  source_timestamp: Type.Optional(timestamp('Within the history of the source.')),
  preserve_under_name: Type.Optional(
    text(0, 256, 'Keeps the state before under a branch of this name, which becomes the parent of all children.'),
  ),
});

export const BranchFinalizeBody = requestObject({
  name: Type.Optional(text(1, 256, 'New name of the branch that is replaced. By default its name and "(old)".')),
});

export type ScheduleItem = Static<typeof ScheduleItem>;
export type SnapshotCreateBody = Static<typeof SnapshotCreateBody>;
