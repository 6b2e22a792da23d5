/**
 * The schema as people read it and as two of them are compared: statements, an empty line between, without secrets.
 * @param statements as `dumpSchema` gives them
 */
export function schemaText(statements: readonly string[]): string {
  return statements.map((statement) => `${withoutSecrets(statement)};\n`).join('\n');
}

const NAME = String.raw`(?:"(?:[^"]|"")*"|[\w$\u0080-\uffff]+)`;

/** The options of a user mapping hold the password for another server. */
const USER_MAPPING = new RegExp(`^CREATE USER MAPPING FOR ${NAME} SERVER ${NAME}`);

function withoutSecrets(statement: string): string {
  return USER_MAPPING.exec(statement)?.[0] ?? statement;
}
