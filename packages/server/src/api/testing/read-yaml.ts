export type Yaml = string | Yaml[] | { [key: string]: Yaml };

interface Line {
  readonly indent: number;
  readonly text: string;
}

const ENTRY = /^("[^"]*"|'[^']*'|[^\s"'#:][^:]*):(?:\s+(.*))?$/;

/**
 * Reads the subset of YAML that Neon's OpenAPI file is written in: block maps and lists, plain, quoted and literal
 * scalars (all as text), flow lists of scalars, `{}`, and anchors of maps. Enough for a test, and no dependency.
 */
export function readYaml(source: string): Yaml {
  const lines = source
    .split('\n')
    .map((line): Line => ({ indent: line.search(/\S/), text: line.trim() }))
    .filter(({ text }) => text !== '' && !text.startsWith('#'));
  const anchors = new Map<string, Yaml>();
  let at = 0;

  return readNode();

  function readNode(): Yaml {
    const first = lines[at];
    if (!first) return '';
    return isItem(first) ? readList(first.indent) : readMap(first.indent);
  }

  function readList(indent: number): Yaml[] {
    const list: Yaml[] = [];
    for (let line = lines[at]; line && line.indent === indent && isItem(line); line = lines[at]) {
      const text = line.text.slice(1).trim();
      if (ENTRY.test(text)) {
        // `- key: value` begins a map that is indented by the dash.
        lines[at] = { indent: indent + 2, text };
        list.push(readMap(indent + 2));
      } else {
        at += 1;
        list.push(readScalar(text, indent));
      }
    }
    return list;
  }

  function readMap(indent: number): { [key: string]: Yaml } {
    const map: { [key: string]: Yaml } = {};
    for (let line = lines[at]; line && line.indent === indent && !isItem(line); line = lines[at]) {
      const [, key = '', value = ''] = ENTRY.exec(line.text) ?? [];
      at += 1;
      map[unquote(key)] = readValue(value, indent);
    }
    return map;
  }

  function readValue(text: string, indent: number): Yaml {
    if (text === '') return readNested(indent);
    if (text.startsWith('*')) return anchors.get(text.slice(1)) ?? '';
    if (!text.startsWith('&')) return readScalar(text, indent);
    const node = readNested(indent);
    anchors.set(text.slice(1), node);
    return node;
  }

  function readNested(indent: number): Yaml {
    const next = lines[at];
    const isInside = next !== undefined && (next.indent > indent || (next.indent === indent && isItem(next)));
    return isInside ? readNode() : '';
  }

  /** Deeper lines belong to the scalar. */
  function readScalar(text: string, indent: number): Yaml {
    const parts = [text];
    for (let line = lines[at]; line && line.indent > indent; line = lines[at]) {
      parts.push(line.text);
      at += 1;
    }
    const whole = parts.join(' ');
    if (whole === '{}') return {};
    if (!/^\[.*\]$/.test(whole)) return unquote(whole);
    return whole
      .slice(1, -1)
      .split(',')
      .filter(Boolean)
      .map((item) => unquote(item.trim()));
  }
}

const isItem = ({ text }: Line): boolean => text === '-' || text.startsWith('- ');

const unquote = (text: string): string => (/^(".*"|'.*')$/s.test(text) ? text.slice(1, -1) : text);
