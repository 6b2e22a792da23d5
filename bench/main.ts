import { benchBranch } from './branch.ts';
import { benchLifecycle } from './lifecycle.ts';
import { describeMachine } from './machine.ts';

/** `npm run bench -- NAME [flags]`: what the machine is, then one JSON object per case on standard output, progress on standard error. */
const BENCHES: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  branch: benchBranch,
  lifecycle: benchLifecycle,
};

const [name = '', ...args] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench) {
  describeMachine();
  await bench(args);
} else {
  process.stderr.write(`Usage: npm run bench -- NAME [flags]; NAME is one of: ${Object.keys(BENCHES).join(', ')}\n`);
  process.exitCode = 1;
}
