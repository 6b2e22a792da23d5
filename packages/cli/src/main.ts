import { parseArgs } from 'node:util';
import { doctor } from './commands/doctor.ts';
import { installEngineCommand } from './commands/engine.ts';
import { restart } from './commands/restart.ts';
import { status } from './commands/status.ts';
import { suspend } from './commands/suspend.ts';
import { openTarget, type Target } from './target.ts';

/** A command prints its result, or throws an Error whose message is for people. */
type Command = (target: Target, args: readonly string[]) => Promise<void>;

const COMMANDS: Readonly<Record<string, { readonly run: Command; readonly usage: string; readonly docs: string }>> = {
  status: { run: status, usage: 'status', docs: 'Processes, projects, and which computes are awake' },
  doctor: {
    run: doctor,
    usage: 'doctor',
    docs: 'Which engines, storage and isolation are active, and what would make them better',
  },
  suspend: { run: suspend, usage: 'suspend ENDPOINT_ID|CONNECTION_URI', docs: 'Stop a compute now' },
  restart: { run: restart, usage: 'restart', docs: 'Start all processes anew under running computes' },
  engine: { run: installEngineCommand, usage: 'engine install VERSION', docs: 'Install a Postgres version (14 to 18)' },
};

function help(): string {
  const rows = Object.values(COMMANDS).map(({ usage, docs }) => `  ${usage.padEnd(38)} ${docs}`);
  return `Usage: tenantry COMMAND [--data-dir DIRECTORY] [--json]\n\n${rows.join('\n')}\n`;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { 'data-dir': { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  });
  const [name, ...args] = positionals;
  const command = name === undefined ? undefined : COMMANDS[name];
  if (values.help || !command) {
    if (name !== undefined && !command) throw new Error(`Unknown command "${name}"\n\n${help()}`);
    process.stdout.write(help());
    return;
  }
  const json = values.json === true;
  await command.run(openTarget({ dataDir: values['data-dir'], json }), args);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
