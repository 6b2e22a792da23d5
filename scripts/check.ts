import { spawn } from 'node:child_process';

/** `npm run check`: everything that needs no Postgres, side by side. Prints only what fails, and the time of each. */
const CHECKS: Readonly<Record<string, readonly string[]>> = {
  format: ['oxfmt', '--check', '.'],
  lint: ['oxlint', '.'],
  types: ['tsc', '-p', 'tsconfig.json'],
  unused: ['knip', '--no-progress'],
  tests: ['vitest', 'run', '--project', 'pure'],
};

async function run(name: string, [command = '', ...args]: readonly string[]): Promise<boolean> {
  const startedAtMs = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.once('error', (error) => {
    output.push(Buffer.from(String(error)));
    resolve(1);
  });
  child.once('close', resolve);
  const isGood = (await promise) === 0;
  if (!isGood) process.stdout.write(Buffer.concat(output));
  console.log(`${isGood ? 'ok    ' : 'FAILED'} ${name} (${((performance.now() - startedAtMs) / 1000).toFixed(1)} s)`);
  return isGood;
}

const results = await Promise.all(Object.entries(CHECKS).map(([name, command]) => run(name, command)));
process.exitCode = results.every(Boolean) ? 0 : 1;
