import { count, flag, id, responseObject, timestamp, Type } from './schema.ts';

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
});

/** Notes that clients may keep with a branch. Tenantry keeps none yet, so `value` is empty. */
export const Annotation = responseObject('Annotation', {
  object: Type.Object({ type: Type.String(), id: Type.String() }),
  value: Type.Record(Type.String(), Type.String()),
});
