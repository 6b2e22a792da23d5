import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { must } from '../../kernel/assert.ts';
import { readYaml, type Yaml } from './read-yaml.ts';

type YamlMap = { [key: string]: Yaml };

const asMap = (node: Yaml | undefined): YamlMap => (typeof node === 'object' && !Array.isArray(node) ? node : {});
const asText = (node: Yaml | undefined): string => (typeof node === 'string' ? node : '');
const asList = (node: Yaml | undefined): Yaml[] => (Array.isArray(node) ? node : []);

/** A JSON schema of Neon with references and `allOf` resolved. */
interface NeonSchema {
  readonly type: string;
  readonly required: readonly string[];
  readonly properties: Readonly<Record<string, Yaml>>;
  readonly items: Yaml | undefined;
  readonly enum: readonly string[];
  readonly values: Yaml | undefined;
}

/** Neon's own description of its API, from the npm package of its client. */
export class NeonOpenApi {
  readonly #document: YamlMap;

  constructor() {
    const client = createRequire(import.meta.url).resolve('@neondatabase/api-client');
    const file = join(dirname(client), '..', 'public-v2-for-users.gen.yaml');
    this.#document = asMap(readYaml(readFileSync(file, 'utf8')));
  }

  hasRoute(method: string, path: string, status: number): boolean {
    return String(status) in asMap(this.#operation(method, path)['responses']);
  }

  operationId(method: string, path: string): Yaml | undefined {
    return this.#operation(method, path)['operationId'];
  }

  queryParameters(method: string, path: string): string[] {
    const parameters = asList(this.#operation(method, path)['parameters']).map((node) => this.#resolve(node));
    return parameters.filter((parameter) => parameter['in'] === 'query').map((parameter) => asText(parameter['name']));
  }

  /** Paths of all fields of the request body, such as `project.settings.quota`. */
  bodyFields(method: string, path: string): string[] {
    const body = this.#resolve(this.#operation(method, path)['requestBody']);
    return this.#fields(schemaOf(body), '');
  }

  /** Where `value` is not what Neon's schema of the answer promises; empty if it is. */
  violations(method: string, path: string, status: number, value: unknown): string[] {
    const response = this.#resolve(asMap(this.#operation(method, path)['responses'])[String(status)]);
    return this.#violations(must(schemaOf(response)), value, '');
  }

  #operation(method: string, path: string): YamlMap {
    return asMap(asMap(asMap(this.#document['paths'])[path])[method.toLowerCase()]);
  }

  #resolve(node: Yaml | undefined): YamlMap {
    const ref = asMap(node)['$ref'];
    if (typeof ref !== 'string') return asMap(node);
    let at: Yaml = this.#document;
    for (const name of ref.split('/').slice(1)) at = must(asMap(at)[name], `no ${ref}`);
    return this.#resolve(at);
  }

  #schema(node: Yaml): NeonSchema {
    const map = this.#resolve(node);
    const parts = asList(map['allOf']).map((part) => this.#schema(part));
    const values = asMap(map['additionalProperties']);
    return {
      type: typeof map['type'] === 'string' ? map['type'] : (parts[0]?.type ?? 'object'),
      required: [...asList(map['required']).map(String), ...parts.flatMap((part) => part.required)],
      properties: Object.assign({}, asMap(map['properties']), ...parts.map((part) => part.properties)) as YamlMap,
      items: map['items'],
      enum: asList(map['enum']).map(String),
      values: Object.keys(values).length > 0 ? values : undefined,
    };
  }

  #fields(node: Yaml | undefined, prefix: string): string[] {
    if (node === undefined) return [];
    return Object.entries(this.#schema(node).properties).flatMap(([name, inner]) => {
      const path = prefix === '' ? name : `${prefix}.${name}`;
      return [path].concat(this.#fields(inner, path));
    });
  }

  #violations(node: Yaml, value: unknown, at: string): string[] {
    const schema = this.#schema(node);
    if (!hasType(value, schema.type)) return [`${at}: not ${schema.type}`];
    if (schema.enum.length > 0 && !schema.enum.includes(String(value))) return [`${at}: not in enum`];
    if (Array.isArray(value)) {
      return value.flatMap((item, index) =>
        schema.items ? this.#violations(schema.items, item, `${at}[${index}]`) : [],
      );
    }
    if (typeof value !== 'object' || value === null) return [];
    const missing = schema.required
      .filter((name) => !Object.hasOwn(value, name))
      .map((name) => `${at}.${name}: missing`);
    const inner = Object.entries(value).flatMap(([name, field]) => {
      const fieldSchema = schema.properties[name] ?? schema.values;
      return fieldSchema === undefined
        ? [`${at}.${name}: unknown`]
        : this.#violations(fieldSchema, field, `${at}.${name}`);
    });
    return [...missing, ...inner];
  }
}

const schemaOf = (message: YamlMap): Yaml | undefined => asMap(asMap(message['content'])['application/json'])['schema'];

function hasType(value: unknown, type: string): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  return typeof value === type;
}
