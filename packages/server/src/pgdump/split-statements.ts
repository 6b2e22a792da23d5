/**
 * Cuts the SQL text that pg_dump writes into statements, without comments between them and without psql's commands
 * (`\restrict`, `\connect`). Follows the lexical rules of Postgres with `standard_conforming_strings` on; in a function
 * of the SQL standard's form (`BEGIN ATOMIC ... END`) semicolons end no statement, as psql does it.
 */
export function splitStatements(text: string): string[] {
  const statements: string[] = [];
  let start = skipBetween(text, 0);
  while (start < text.length) {
    const end = endOfStatement(text, start);
    statements.push(text.slice(start, end).trimEnd());
    start = skipBetween(text, end + 1);
  }
  return statements;
}

/** Over white space, line comments and commands of psql, which stand at the start of a line. */
function skipBetween(text: string, from: number): number {
  if (from >= text.length) return text.length;
  BETWEEN.lastIndex = from;
  BETWEEN.test(text);
  return BETWEEN.lastIndex;
}

const BETWEEN = /(?:\s+|--[^\n]*(?:\n|$)|\\[^\n]*(?:\n|$))*/y;

/**
 * The parts of a statement in which nothing is special, each as one match: `''` and `""` are two of them side by side.
 * A backslash escapes only in an `E''` string.
 */
const TOKEN = new RegExp(
  [
    String.raw`(?<string>[eE]'(?:[^'\\]|\\[\s\S])*'|'[^']*')`,
    String.raw`(?<name>"[^"]*")`,
    String.raw`(?<comment>--[^\n]*)`,
    String.raw`(?<nested>/\*)`,
    String.raw`(?<dollar>\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$)`,
    String.raw`(?<word>[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)`,
    String.raw`(?<number>[0-9][A-Za-z0-9_$.]*)`,
    String.raw`(?<mark>[;()])`,
    String.raw`(?<other>[\s\S])`,
  ].join('|'),
  'y',
);

/** The index of the semicolon that ends the statement, or the end of the text. */
function endOfStatement(text: string, from: number): number {
  const depth = new Depth();
  let at = from;
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const groups = TOKEN.exec(text)?.groups ?? {};
    const next = TOKEN.lastIndex;
    if (groups['mark'] === ';' && depth.isOutermost) return at;
    if (groups['dollar'] !== undefined) at = after(text, groups['dollar'], next);
    else if (groups['nested'] !== undefined) at = endOfComment(text, next);
    else {
      depth.see(groups);
      at = next;
    }
  }
  return text.length;
}

function after(text: string, mark: string, from: number): number {
  const found = text.indexOf(mark, from);
  return found === -1 ? text.length : found + mark.length;
}

/** Comments of this kind nest. */
function endOfComment(text: string, from: number): number {
  const edges = /\/\*|\*\//g;
  edges.lastIndex = from;
  for (let depth = 1; depth > 0;) {
    const edge = edges.exec(text);
    if (!edge) return text.length;
    depth += edge[0] === '/*' ? 1 : -1;
  }
  return edges.lastIndex;
}

/** Parentheses, and the blocks in the body of a function or procedure. */
class Depth {
  #parentheses = 0;
  #blocks = 0;
  readonly #words: string[] = [];

  get isOutermost(): boolean {
    return this.#parentheses === 0 && this.#blocks === 0;
  }

  see({ word, mark }: Readonly<Record<string, string | undefined>>): void {
    if (mark === '(') this.#parentheses++;
    if (mark === ')') this.#parentheses = Math.max(0, this.#parentheses - 1);
    if (word !== undefined) this.#seeWord(word.toLowerCase());
  }

  #seeWord(word: string): void {
    if (this.#words.length < 4) this.#words.push(word);
    if (!this.#isRoutine || this.#parentheses > 0) return;
    if (word === 'begin') this.#blocks++;
    if (word === 'case' && this.#blocks > 0) this.#blocks++;
    if (word === 'end' && this.#blocks > 0) this.#blocks--;
  }

  /** `CREATE [OR REPLACE] FUNCTION` or `PROCEDURE`. */
  get #isRoutine(): boolean {
    const [first, ...rest] = this.#words;
    const kind = rest[0] === 'or' ? rest[2] : rest[0];
    return first === 'create' && (kind === 'function' || kind === 'procedure');
  }
}
