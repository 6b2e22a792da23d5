import { endpointFields } from './endpoint.ts';
import {
  choice,
  count,
  flag,
  id,
  only,
  requestObject,
  responseObject,
  text,
  timestamp,
  Type,
  type Static,
} from './schema.ts';
import { lsn } from './snapshot.ts';

const ANNOTATIONS_MAX = 50;

export const Branch = responseObject('Branch', {
  id: id('Branch id.'),
  project_id: id('Project id.'),
  parent_id: Type.Optional(id('Branch that this one was made from; a root branch has none.')),
  name: Type.String(),
  current_state: Type.String({ description: 'init, ready, archived or resetting.' }),
  pending_state: Type.Optional(Type.String({ description: 'The state that it is going to.' })),
  state_changed_at: timestamp('When the state changed last.'),
  logical_size: Type.Optional(count('Bytes of all databases of the branch.')),
  creation_source: Type.String(),
  primary: flag('Same as default; for old clients.'),
  default: flag('The branch that is taken where none is named.'),
  protected: flag('Guarded against deletion and reset.'),
  cpu_used_sec: count('CPU seconds of this billing period.'),
  compute_time_seconds: count('Compute-unit seconds of this billing period.'),
  active_time_seconds: count('Seconds awake in this billing period.'),
  written_data_bytes: count('Bytes written in this billing period.'),
  data_transfer_bytes: count('Bytes sent to clients in this billing period.'),
  created_at: timestamp('When it was created.'),
  updated_at: timestamp('Its last change.'),
  created_by: Type.Object({ name: Type.String(), image: Type.String() }),
  init_source: Type.String({ description: 'parent-data or schema-only.' }),
  parent_lsn: Type.Optional(Type.String({ description: 'All in the WAL of the parent up to it is in the branch.' })),
  parent_timestamp: Type.Optional(timestamp('A time at which the parent was as the branch began.')),
  expires_at: Type.Optional(timestamp('When it is deleted.')),
  ttl_interval_seconds: Type.Optional(count('From when expires_at was set to it.')),
  last_reset_at: Type.Optional(timestamp('When it last became what its parent was.')),
  restored_from: Type.Optional(Type.String({ description: 'The snapshot that it was made from.' })),
  restored_as: Type.Optional(Type.String({ description: 'The branch in whose place it is, or is to be.' })),
  restore_status: Type.Optional(Type.String({ description: 'restored, finalized or detaching.' })),
  recovery: Type.Optional(
    responseObject('BranchRecovery', {
      deleted_at: timestamp('When it was deleted.'),
      recoverable_until: timestamp('When it is removed for good.'),
      deletion_method: choice(['user', 'ttl'], 'Whether a client has deleted it, or it has expired.'),
    }),
  ),
});

export const annotationValue = Type.Record(Type.String(), Type.String(), {
  maxProperties: ANNOTATIONS_MAX,
  description: 'Notes of the client on the branch.',
});

/** Notes that clients keep with a branch. */
export const Annotation = responseObject('Annotation', {
  object: Type.Object({ type: Type.String(), id: Type.String() }),
  value: Type.Record(Type.String(), Type.String()),
});

const name = text(1, 256, 'By default its id.');
const expiresAt = timestamp('When it is to be deleted: at most 30 days ahead.');

export const BranchCreateBody = requestObject({
  branch: Type.Optional(
    requestObject({
      parent_id: Type.Optional(
        Type.String({ pattern: '^[a-z0-9-]{0,60}$', description: 'By default, and if empty, the default branch.' }),
      ),
      name: Type.Optional(name),
      parent_lsn: Type.Optional(lsn('Of the parent; not together with parent_timestamp. Neither: the head.')),
      parent_timestamp: Type.Optional(timestamp('Within the history of the parent.')),
      protected: Type.Optional(flag('Guarded against deletion and reset.')),
      archived: Type.Optional(only(false, 'a branch cannot be created as archived')),
      init_source: Type.Optional(choice(['parent-data', 'schema-only'], 'schema-only: a root branch without rows.')),
      expires_at: Type.Optional(expiresAt),
    }),
  ),
  endpoints: Type.Optional(
    Type.Array(requestObject(endpointFields), { maxItems: 21, description: 'At most one of type read_write.' }),
  ),
  annotation_value: Type.Optional(annotationValue),
});

export const BranchUpdateBody = requestObject({
  branch: requestObject({
    name: Type.Optional(text(1, 256, 'New name.')),
    protected: Type.Optional(flag('Guarded against deletion and reset.')),
    expires_at: Type.Optional(Type.Union([expiresAt, Type.Null()], { description: 'Null: it stays.' })),
  }),
});

export type BranchCreateBody = Static<typeof BranchCreateBody>;
