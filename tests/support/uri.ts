/** Variations that a user makes of a connection URI by hand. */

export function withDatabase(uri: string, database: string): string {
  const url = new URL(uri);
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

export function withRole(uri: string, role: string, password: string): string {
  const url = new URL(uri);
  url.username = encodeURIComponent(role);
  url.password = encodeURIComponent(password);
  return url.href;
}

/** Sets query parameters; the ones of the URI stay. */
export function withParameters(uri: string, parameters: Readonly<Record<string, string>>): string {
  const extra = Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return uri + (uri.includes('?') ? '&' : '?') + extra.join('&');
}

/** The same without `options=endpoint%3D...`. */
export function withoutEndpoint(uri: string): string {
  return uri.replace(/[?&]options=[^&]*/, '');
}
