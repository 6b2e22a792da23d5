import { parseArgs } from 'node:util';
import { doctor } from './commands/doctor.ts';
import { installEngineCommand } from './commands/engine.ts';
import { restart } from './commands/restart.ts';
import { status } from './commands/status.ts';
import { storage } from './commands/storage.ts';
import { suspend } from './commands/suspend.ts';
import { openTarget, type Target } from './target.ts';

/** Flags that one command has and others ignore. */
interface Flags {
  readonly size: string | undefined;
  readonly project: string | undefined;
}

interface Command {
  /** Prints the result, or throws an Error whose message is for people. */
  readonly run: (target: Target, args: readonly string[], flags: Flags) => Promise<void>;
  /** How to say it, and what it does. */
  readonly forms: readonly (readonly [usage: string, docs: string])[];
}

const COMMANDS: Readonly<Record<string, Command>> = {
  status: { run: status, forms: [['status', 'Processes, projects, and which computes are awake']] },
  doctor: {
    run: doctor,
    forms: [['doctor', 'Which engines, storage and isolation are active, and what would make them better']],
  },
  storage: {
    run: storage,
    forms: [
      ['storage [--project PROJECT_ID]', 'Room there is, and what each branch takes of it'],
      ['storage create [--size SIZE]', 'Make the pool ahead of the first start'],
      ['storage grow [--size SIZE]', 'Grow the pool, and bound it from now on'],
    ],
  },
  suspend: { run: suspend, forms: [['suspend ENDPOINT_ID|CONNECTION_URI', 'Stop a compute now']] },
  restart: { run: restart, forms: [['restart', 'Start all processes anew under running computes']] },
  engine: {
    run: installEngineCommand,
    forms: [['engine install VERSION', 'Install a Postgres version (14 to 18)']],
  },
};

function help(): string {
  const forms = Object.values(COMMANDS).flatMap((command) => command.forms);
  const rows = forms.map(([usage, docs]) => `  ${usage.padEnd(38)} ${docs}`);
  return `Usage: tenantry COMMAND [--data-dir DIRECTORY] [--json]\n\n${rows.join('\n')}\n`;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'data-dir': { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
      size: { type: 'string' },
      project: { type: 'string' },
    },
  });
  const [name, ...args] = positionals;
  const command = name === undefined ? undefined : COMMANDS[name];
  if (values.help || !command) {
    if (name !== undefined && !command) throw new Error(`Unknown command "${name}"\n\n${help()}`);
    process.stdout.write(help());
    return;
  }
  const target = openTarget({ dataDir: values['data-dir'], json: values.json === true });
  await command.run(target, args, { size: values.size, project: values.project });
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
