/** The `options` startup parameter: command-line words for Postgres, with words for the gateway among them. */
export interface StartupOptions {
  /** Endpoint named by `endpoint=` or the older `project=`; undefined if none, or more than one, is named. */
  readonly endpoint: string | undefined;
  /** What is left for Postgres, each word as it was written; undefined if nothing is. */
  readonly forwarded: string | undefined;
}

/** Splits at whitespace that no backslash escapes (`pg_split_opts` of Postgres). Words keep their escapes. */
const WORD = /(?:\\[\s\S]|[^\s\\]|\\$)+/g;

/** A percent-encoded `=` or `:` comes from clients that pass the text of a URI on undecoded. */
const ENDPOINT_WORD = /^(?:endpoint|project)(?:=|%3d)(.*)$/i;
const NEON_WORD = /^neon_[a-z_]+(?::|%3a)/i;

export function parseStartupOptions(options: string): StartupOptions {
  const endpoints: string[] = [];
  const forwarded: string[] = [];
  for (const [word] of options.matchAll(WORD)) {
    const plain = word.replaceAll(/\\([\s\S])/g, '$1');
    const endpoint = ENDPOINT_WORD.exec(plain)?.[1];
    if (endpoint !== undefined) endpoints.push(endpoint);
    else if (!NEON_WORD.test(plain)) forwarded.push(word);
  }
  return {
    endpoint: endpoints.length === 1 ? endpoints[0] : undefined,
    forwarded: forwarded.length > 0 ? forwarded.join(' ') : undefined,
  };
}

/** `endpoint=<id>;<password>` or `endpoint=<id>$<password>`: for clients that can send neither SNI nor options. */
export function parsePasswordWithEndpoint(text: string): { endpoint: string; password: string } | undefined {
  const match = /^(?:endpoint|project)=([^;$]*)[;$](.*)$/is.exec(text);
  return match ? { endpoint: match[1] ?? '', password: match[2] ?? '' } : undefined;
}
