import { runProgram } from '../engines/run-program.ts';

/** mkfs and losetup live in sbin, which is not on everyone's PATH; messages are matched, so no translations. */
const TOOL_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/** A filesystem under load answers late (a commit waits for the disk), but not never. */
const TOOL_DEADLINE_MS = 60_000;

/** Runs a tool of the operating system (btrfs, mount, ...) and gives its output. @throws ProgramError, DEADLINE_EXCEEDED */
export async function runSystemTool(program: string, ...args: readonly string[]): Promise<string> {
  return runProgram(program, args, { deadlineMs: TOOL_DEADLINE_MS, env: TOOL_ENV, isUrgent: true });
}

export async function hasSystemTool(program: string): Promise<boolean> {
  return runSystemTool('sh', '-c', 'command -v "$1"', 'sh', program).then(
    () => true,
    () => false,
  );
}
