/** Connection strings as libpq reads them: a URI, or `key=value` words. */

export type Conninfo = Readonly<Record<string, string | undefined>>;

export function parseConninfo(connection: string): Conninfo {
  return connection.startsWith('postgres') ? parseUri(connection) : parseWords(connection);
}

/** Not by URL: libpq takes URIs without a host, which that one refuses. */
const URI =
  /^postgres(?:ql)?:\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<host>[^:/?]*)(?::(?<port>\d+))?(?:\/(?<dbname>[^?]*))?(?:\?(?<query>.*))?$/;

function parseUri(uri: string): Conninfo {
  const { query = '', ...parts } = URI.exec(uri)?.groups ?? {};
  const pairs = [...Object.entries(parts), ...query.split('&').map((pair) => pair.split(/=(.*)/s).slice(0, 2))];
  return Object.fromEntries(
    pairs.filter(([, value]) => value).map(([name, value]) => [name, decodeURIComponent(value ?? '')]),
  ) as Conninfo;
}

function parseWords(words: string): Conninfo {
  const matches = words.matchAll(/(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))/gs);
  return Object.fromEntries(
    [...matches].map(([, name = '', quoted, bare]) => [name, (quoted ?? bare ?? '').replaceAll(/\\(.)/gs, '$1')]),
  );
}
