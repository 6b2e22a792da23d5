import type { Reporter, TestModule } from 'vitest/node';

/**
 * The end of a test run: what this machine could not show, by reason. A test that skips itself says why, and which
 * package would show it; those that need another user or filesystem are named.
 */
export default class SkippedReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const byReason = new Map<string, string[]>();
    for (const module of modules) {
      for (const test of module.children.allTests('skipped')) {
        const result = test.result();
        const reason = (result.state === 'skipped' ? result.note : undefined) ?? NO_NOTE;
        byReason.set(reason, [...(byReason.get(reason) ?? []), `${module.relativeModuleId} > ${test.fullName}`]);
      }
    }
    if (byReason.size === 0) return;
    console.log('Not shown on this machine:');
    for (const [reason, names] of byReason) {
      console.log(`  ${reason}`);
      // A filter of the command line skips without a note, and much at once.
      for (const name of names.slice(0, 20)) console.log(`    ${name}`);
      if (names.length > 20) console.log(`    and ${names.length - 20} more`);
    }
  }
}

const NO_NOTE = 'for a reason that the test names (root, a filesystem), or by a filter of the command line';
