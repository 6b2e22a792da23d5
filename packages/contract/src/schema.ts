import { Type, type Static, type TEnum, type TObject, type TProperties, type TSchema } from 'typebox';
import { ID_PATTERN } from './ids.ts';

/** Building blocks of the schemas. A `title` makes a schema a named component of the OpenAPI document. */

/** Text without control characters: Postgres cannot store NUL, and terminals obey the others. */
const PRINTABLE_PATTERN = '^[^\\u0000-\\u001f\\u007f]*$';

/** Postgres cuts longer names (NAMEDATALEN - 1 bytes). */
const POSTGRES_NAME_LENGTH_MAX = 63;

export const id = (description: string) => Type.String({ pattern: ID_PATTERN, description });

export const uuid = (description: string) => Type.String({ format: 'uuid', description });

/** RFC 3339. Answered in UTC with whole seconds; the moment of a branch or a snapshot as exact as it is, to the microsecond. */
export const timestamp = (description: string) => Type.String({ format: 'date-time', description });

export const text = (lengthMin: number, lengthMax: number, description: string) =>
  Type.String({ minLength: lengthMin, maxLength: lengthMax, pattern: PRINTABLE_PATTERN, description });

export const postgresName = (description: string) => text(1, POSTGRES_NAME_LENGTH_MAX, description);

export const count = (description: string) => Type.Integer({ minimum: 0, description });

export const flag = (description: string) => Type.Boolean({ description });

export const choice = <const T extends string[]>(values: [...T], description: string): TEnum<T> =>
  Type.Enum(values, { description });

/** A field that Neon has and that takes one value here: the reason is part of the error message. */
export const only = <const T extends boolean | number>(value: T, reason: string) =>
  Type.Literal(value, { description: `Only ${value}: ${reason}.`, 'x-takes': `only ${value}: ${reason}` });

/**
 * An object of a request: unknown fields are errors. `unsupported` names the fields that Neon has and Tenantry refuses,
 * each with what the client is told.
 */
export function requestObject<T extends TProperties>(
  properties: T,
  unsupported: Readonly<Record<string, string>> = {},
): TObject<T> {
  return Type.Object(properties, {
    additionalProperties: false,
    ...(Object.keys(unsupported).length > 0 && { 'x-unsupported': unsupported }),
  });
}

/** A named object of a response. */
export const responseObject = <T extends TProperties>(title: string, properties: T): TObject<T> =>
  Type.Object(properties, { title });

export type { Static, TObject, TProperties, TSchema };
export { Type };
