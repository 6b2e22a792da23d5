import { Compile } from 'typebox/compile';
import type { TSchema } from 'typebox';
import { must, unreachable } from '../kernel/assert.ts';
import { PlatformError } from '../kernel/errors.ts';

type Part = 'body' | 'querystring' | 'params';

type Validate = (value: unknown) => { value: unknown } | { error: Error };

/** The parts of a JSON schema that are read here. */
export interface SchemaFacts {
  readonly type?: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object';
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, SchemaFacts>>;
  readonly 'x-takes'?: string;
  readonly 'x-unsupported'?: Readonly<Record<string, string>>;
}

/**
 * Compiles a schema to the check of one part of a request. Texts of query and path become the numbers and booleans
 * that the schema asks for; bodies are taken as they are. Errors are `PlatformError` INVALID_REQUEST that name the
 * field by its path and say what it takes.
 */
export function compileValidator(schema: TSchema, part: Part): Validate {
  const check = Compile(schema);
  const facts = schema as SchemaFacts;
  return (given) => {
    const value = part === 'body' ? (given ?? {}) : convertTexts(facts, given);
    if (check.Check(value)) return { value };
    return { error: toError(facts, part, check.Errors(value)) };
  };
}

function convertTexts(schema: SchemaFacts, given: unknown): unknown {
  const fields = Object.entries(given as Record<string, unknown>);
  return Object.fromEntries(fields.map(([name, value]) => [name, convertText(schema.properties?.[name], value)]));
}

function convertText(schema: SchemaFacts | undefined, value: unknown): unknown {
  if (typeof value !== 'string' || !schema) return value;
  const type = schema.type;
  if (type === 'integer' && /^-?\d{1,15}$/.test(value)) return Number(value);
  if (type === 'boolean' && (value === 'true' || value === 'false')) return value === 'true';
  return value;
}

interface Violation {
  readonly keyword: string;
  readonly instancePath: string;
  readonly schemaPath: string;
  readonly params: object;
}

function toError(schema: SchemaFacts, part: Part, violations: readonly Violation[]): PlatformError {
  // An unknown field fails the schema `false`. It comes first: a misspelt name explains a missing field.
  const unknown = violations.find(({ keyword }) => keyword === 'boolean');
  if (unknown) {
    const at = schemaAt(schema, unknown.schemaPath.replace(/\/additionalProperties$/, ''));
    const path = pathOf(unknown);
    return refuse(nameOf(part, path), whyUnknown(at, path.at(-1) ?? ''));
  }
  const violation = must(violations[0], 'a value that fails the check has an error');
  const at = schemaAt(schema, violation.schemaPath);
  const path = pathOf(violation);
  const { requiredProperties } = violation.params as { requiredProperties?: string[] };
  const missing = requiredProperties?.[0];
  if (missing !== undefined) return refuse('the request', `${nameOf(part, [...path, missing])} is missing`);
  return refuse(nameOf(part, path), `it takes ${describe(at)}`);
}

const pathOf = ({ instancePath }: Violation): string[] => instancePath.split('/').slice(1).map(unescapePointer);

const refuse = (what: string, why: string): PlatformError =>
  new PlatformError('INVALID_REQUEST', `Cannot accept ${what}: ${why}`);

const unescapePointer = (token: string): string => token.replaceAll('~1', '/').replaceAll('~0', '~');

const NAME_LENGTH_SHOWN_MAX = 100;

function nameOf(part: Part, path: readonly string[]): string {
  if (path.length === 0) return part === 'body' ? 'the body' : 'the request';
  const name = path.join('.').slice(0, NAME_LENGTH_SHOWN_MAX);
  if (part === 'body') return name;
  return part === 'querystring' ? `the query parameter ${name}` : `${name} in the path`;
}

function whyUnknown(schema: SchemaFacts, name: string): string {
  const refused = schema['x-unsupported'];
  if (refused && Object.hasOwn(refused, name)) return `${refused[name]}`;
  const known = Object.keys(schema.properties ?? {});
  return known.length === 0 ? 'no field is known here' : `it is not one of ${known.join(', ')}`;
}

/** Follows a JSON pointer such as `#/properties/project/properties/name`. */
function schemaAt(schema: SchemaFacts, pointer: string): SchemaFacts {
  let at: unknown = schema;
  for (const token of pointer.split('/').slice(1).map(unescapePointer)) {
    at = (at as Record<string, unknown> | undefined)?.[token];
  }
  return at ?? {};
}

/** What a field takes, in words. */
export function describe(schema: SchemaFacts): string {
  if (schema['x-takes'] !== undefined) return schema['x-takes'];
  if (schema.enum) return `one of ${schema.enum.join(', ')}`;
  switch (schema.type) {
    case 'string':
      return describeText(schema);
    case 'integer':
      return `a whole number${bounds(schema.minimum, schema.maximum)}`;
    case 'number':
      return `a number${bounds(schema.minimum, schema.maximum)}`;
    case 'boolean':
      return 'true or false';
    case 'array':
      return schema.maxItems === undefined ? 'a list' : `a list of at most ${schema.maxItems} items`;
    case 'object':
    case undefined:
      return 'an object';
    default:
      return unreachable(schema.type);
  }
}

function describeText({ format, pattern, minLength = 0, maxLength }: SchemaFacts): string {
  if (format !== undefined) return `a ${format}`;
  const length = maxLength === undefined ? '' : ` of ${minLength} to ${maxLength} characters`;
  if (pattern === undefined) return `text${length}`;
  return pattern.includes('\\u0000')
    ? `text${length} without control characters`
    : `text${length} that matches ${pattern}`;
}

function bounds(min: number | undefined, max: number | undefined): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  return min === undefined ? '' : ` from ${min} on`;
}
