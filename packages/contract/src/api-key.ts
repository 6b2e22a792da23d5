import { requestObject, responseObject, text, timestamp, Type, uuid } from './schema.ts';

const common = {
  id: Type.Integer({ description: 'API key id.' }),
  name: Type.String(),
  created_at: timestamp('When it was created.'),
};

const lastUse = {
  last_used_at: Type.Optional(timestamp('Its last use.')),
  last_used_from_addr: Type.String({ description: 'Address of its last use; empty before the first.' }),
};

export const ApiKey = responseObject('ApiKey', {
  ...common,
  ...lastUse,
  created_by: Type.Object({ id: uuid('User id.'), name: Type.String(), image: Type.String() }),
});

export const CreatedApiKey = responseObject('CreatedApiKey', {
  ...common,
  created_by: uuid('User id.'),
  key: Type.String({ description: 'Shown this once. Send it as Bearer token.' }),
});

export const RevokedApiKey = responseObject('RevokedApiKey', {
  ...common,
  ...lastUse,
  created_by: uuid('User id.'),
  revoked: Type.Boolean(),
});

export const ApiKeyCreateBody = requestObject({ key_name: text(1, 64, 'Name of the key.') });
