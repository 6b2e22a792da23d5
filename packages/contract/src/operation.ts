import { choice, count, id, responseObject, timestamp, Type, uuid } from './schema.ts';

export const Operation = responseObject('Operation', {
  id: uuid('Operation id.'),
  project_id: id('Project id.'),
  branch_id: Type.Optional(id('Branch id.')),
  endpoint_id: Type.Optional(id('Endpoint id.')),
  action: choice(
    [
      'create_timeline',
      'start_compute',
      'suspend_compute',
      'apply_config',
      'delete_timeline',
      'create_branch',
      'apply_storage_config',
      'timeline_archive',
      'timeline_unarchive',
    ],
    'What is done.',
  ),
  status: choice(
    ['scheduling', 'running', 'finished', 'failed', 'error', 'cancelling', 'cancelled', 'skipped'],
    'How far it is.',
  ),
  error: Type.Optional(Type.String({ description: 'Why it failed.' })),
  failures_count: count('Tries that failed.'),
  retry_at: Type.Optional(timestamp('When it is tried again.')),
  created_at: timestamp('When it was ordered.'),
  updated_at: timestamp('Its last change.'),
  total_duration_ms: count('Milliseconds from the order to the end, or to now.'),
});

export const operations = { operations: Type.Array(Operation) };
