import { spawnSync } from 'node:child_process';
import type { TestContext } from 'vitest';

/** Programs that a few tests are about, which a machine with only Node and npm lacks, and where each comes from. */
const TOOLS = {
  psql: { flag: '--version', from: 'Debian package postgresql-client' },
  pgbench: { flag: '--version', from: 'Debian package postgresql-contrib' },
  openssl: { flag: 'version', from: 'Debian package openssl' },
} as const;

export type Tool = keyof typeof TOOLS;

const found = new Map<Tool, boolean>();

export function isMissing(tool: Tool): boolean {
  const known = found.get(tool);
  if (known !== undefined) return !known;
  const isFound = spawnSync(tool, [TOOLS[tool].flag]).status === 0;
  found.set(tool, isFound);
  return !isFound;
}

/** Skips a test that is about a program which is not here. `./test` ends with the list of these reasons. */
export function skipWithout(tool: Tool, context: Pick<TestContext, 'skip'>): void {
  context.skip(isMissing(tool), `${tool} is not installed (${TOOLS[tool].from})`);
}
