import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { readConfig, SETTINGS } from './config/config.ts';
import { messageOf } from './kernel/errors.ts';
import { goFirst } from './kernel/priority.ts';
import { CHECKOUT, openProcessContext } from './processes/process-context.ts';
import { runChild } from './processes/run-child.ts';
import { runPlatform } from './processes/run-platform.ts';

/** `main.ts start [flags]` is the platform; the other words are its processes, which only the supervisor starts. */
async function main([command = 'start', ...args]: readonly string[]): Promise<void> {
  switch (command) {
    case 'start': {
      const flags = Object.values(SETTINGS).map(({ flag }) => [flag, { type: 'string' as const }]);
      const { values } = parseArgs({
        args: [...args],
        options: { ...Object.fromEntries(flags), json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
      });
      const { json, help, ...settings } = values as Record<string, string | undefined> & {
        json?: boolean;
        help?: boolean;
      };
      if (help) {
        process.stdout.write(startHelp());
        return;
      }
      await runPlatform(
        readConfig(settings, process.env, availableParallelism(), { cwd: process.cwd(), checkout: CHECKOUT }),
        {
          json: json === true,
        },
      );
      return;
    }
    case 'control': {
      goFirst();
      const context = await openProcessContext('control');
      const { startControl } = await import('./processes/control.ts');
      await runChild(context.log, (announce) => startControl(context, announce));
      return;
    }
    case 'host': {
      goFirst();
      const context = await openProcessContext('host');
      const { startHost } = await import('./processes/host.ts');
      await runChild(context.log, () => startHost(context));
      return;
    }
    case 'gateway': {
      goFirst();
      const context = await openProcessContext(`gateway-${args[0] ?? '0'}`);
      const { startGateway } = await import('./processes/gateway.ts');
      await runChild(context.log, () => startGateway(context, Number(args[0] ?? 0)));
      return;
    }
    default:
      throw new Error(`Unknown command "${command}": use start`);
  }
}

function startHelp(): string {
  const rows = Object.values(SETTINGS).map(
    ({ flag, env, fallback, docs }) =>
      `  --${flag.padEnd(22)} ${docs}${fallback ? ` Default: ${fallback}.` : ''} (${env})`,
  );
  return ['Usage: ./start [flags]', '', ...rows, '  --json                   Print one JSON line when ready.', ''].join(
    '\n',
  );
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
}
