import { id, postgresName, requestObject, responseObject, timestamp, Type } from './schema.ts';

export const Database = responseObject('Database', {
  id: Type.Integer({ description: 'Database id.' }),
  branch_id: id('Branch id.'),
  name: Type.String(),
  owner_name: Type.String({ description: 'Role that owns it.' }),
  created_at: timestamp('When it was created or first seen.'),
  updated_at: timestamp('Its last change.'),
});

export const DatabaseCreateBody = requestObject({
  database: requestObject({
    name: postgresName('Name of the database.'),
    owner_name: postgresName('Role that is to own it.'),
  }),
});

export const DatabaseUpdateBody = requestObject({
  database: requestObject({
    name: Type.Optional(postgresName('New name.')),
    owner_name: Type.Optional(postgresName('New owner.')),
  }),
});
