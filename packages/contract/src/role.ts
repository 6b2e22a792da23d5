import { flag, id, postgresName, requestObject, responseObject, timestamp, Type } from './schema.ts';

export const Role = responseObject('Role', {
  branch_id: id('Branch id.'),
  name: Type.String(),
  password: Type.Optional(Type.String({ description: 'Shown by create and reset only.' })),
  protected: flag('True for roles of the platform.'),
  created_at: timestamp('When it was created or first seen.'),
  updated_at: timestamp('Its last change.'),
});

export const RoleCreateBody = requestObject({
  role: requestObject({
    name: postgresName('Name of the role.'),
    no_login: Type.Optional(flag('True: a role that cannot log in and has no password.')),
  }),
});
