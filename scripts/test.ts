import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * `./test [vitest arguments]`: the checks, then every test. Ends with what this machine could not show and why, and one
 * line `N passed, N failed, N skipped`, which CI reads.
 */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly success: boolean;
}

const args = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), 'tenantry-test-'));
const reportPath = join(directory, 'report.json');

const isChecked = args.length > 0 || spawnSync('node', ['scripts/check.ts'], { stdio: 'inherit' }).status === 0;
const vitest = spawnSync(
  'vitest',
  [
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${reportPath}`,
    `--reporter=${join(import.meta.dirname, 'skipped-reporter.ts')}`,
    ...args,
  ],
  {
    stdio: 'inherit',
  },
);

let report: Report | undefined;
try {
  report = JSON.parse(readFileSync(reportPath, 'utf8')) as Report;
} catch {
  console.error('The test runner left no report');
}
rmSync(directory, { recursive: true });

const failed = (report?.numFailedTests ?? 0) + (isChecked ? 0 : 1);
const skipped = (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0);
const isGood = isChecked && vitest.status === 0 && report?.success === true;
if (!isChecked) console.log('The checks failed: see above');
console.log(
  `${report?.numPassedTests ?? 0} passed, ${isGood ? failed : Math.max(failed, 1)} failed, ${skipped} skipped`,
);
process.exitCode = isGood ? 0 : 1;
