import { branchParams, route } from './route.ts';
import { choice, id, postgresName, requestObject, text, timestamp, Type } from './schema.ts';

const BRANCH = '/projects/{project_id}/branches/{branch_id}';

const lsn = (of: string) => Type.Optional(text(3, 17, `The LSN of ${of}; without one and without a time: its head.`));
const time = (of: string) => Type.Optional(timestamp(`The time of ${of}.`));

const schemaQuery = {
  db_name: postgresName('Database.'),
  lsn: lsn('the branch'),
  timestamp: time('the branch'),
};

/** Schemas of databases, at any moment of a branch's history. */
export const schemaRoutes = {
  getProjectBranchSchema: route('GET', `${BRANCH}/schema`, {
    tag: 'Branch',
    summary: 'Get the schema of a database as SQL',
    params: branchParams,
    query: requestObject({ ...schemaQuery, format: Type.Optional(choice(['sql'], 'Only SQL is supported.')) }),
    response: Type.Object({ sql: Type.String() }),
  }),
  getProjectBranchSchemaComparison: route('GET', `${BRANCH}/compare_schema`, {
    tag: 'Branch',
    summary: 'Compare the schema of a database with that of another branch',
    params: branchParams,
    query: requestObject({
      ...schemaQuery,
      base_branch_id: Type.Optional(id('Branch to compare with; without one: the parent.')),
      base_lsn: lsn('the base branch'),
      base_timestamp: time('the base branch'),
    }),
    response: Type.Object({
      diff: Type.String({ description: 'Unified diff from the base; empty if both are equal.' }),
    }),
  }),
} as const;
