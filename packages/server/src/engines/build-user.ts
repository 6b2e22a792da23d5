import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../kernel/errors.ts';
import { writeFileAtomic } from '../kernel/atomic-file.ts';
import type { Log } from '../kernel/log.ts';
import { runProgram, type RunOptions } from './run-program.ts';

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** Runs `initdb` and `postgres --single` as the user that will own what they make. */
export interface BuildUser {
  /** Owner of what the programs make; null: the user that runs Tenantry. */
  readonly owner: User | null;
  run(program: string, args: readonly string[], options: RunOptions): Promise<string>;
}

interface BuildUserOptions {
  /** Null without root. */
  readonly runAs: User | null;
  /** An existing directory of the caller's, that `runAs` can pass, for a small file that lives as long as the runs. */
  readonly workDir: string;
  readonly log: Log;
}

const PROBE_DEADLINE_MS = 10_000;

/**
 * Namespaces of mounts and processes, all killed when we are: a program that outlived a killed Tenantry would go on
 * writing into what the next start removes.
 */
const CONFINED = ['--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--fork', '--kill-child'];

/**
 * Binds the file $1 over /etc/passwd, then becomes user $2 and group $3 for the rest of the words. The change of user
 * forgets the signal of `--kill-child`, so it is asked for again.
 */
const WITH_PASSWD = `mount --bind "$1" /etc/passwd && u=$2 g=$3 && shift 3 && exec setpriv --reuid "$u" --regid "$g" --clear-groups --pdeathsig KILL -- "$@"`;

/**
 * `initdb` and single-user Postgres insist on a name for their user, and ours are bare numbers. So they get a mount
 * namespace of their own with a one-line /etc/passwd. Where the kernel forbids that (a container without
 * CAP_SYS_ADMIN) they run as `nobody`, and the caller gives the files to their owner afterwards.
 */
export async function createBuildUser({ runAs, workDir, log }: BuildUserOptions): Promise<BuildUser> {
  if (!runAs) return { owner: null, run: (program, args, options) => runProgram(program, args, options) };
  try {
    await runProgram('setpriv', [...CONFINED, 'true'], { deadlineMs: PROBE_DEADLINE_MS });
  } catch (error) {
    const nobody = await findNobody();
    log.warn({ reason: messageOf(error) }, 'no mount namespace: cluster is built as nobody');
    return { owner: nobody, run: (program, args, options) => runProgram(program, args, { ...options, runAs: nobody }) };
  }
  const passwdPath = join(workDir, 'passwd');
  await writeFileAtomic(passwdPath, `tenantry:x:${runAs.uid}:${runAs.gid}::/:/bin/false\n`, 0o644);
  const prefix = [...CONFINED, 'sh', '-c', WITH_PASSWD, 'sh', passwdPath, `${runAs.uid}`, `${runAs.gid}`];
  return {
    owner: runAs,
    run: (program, args, options) => runProgram('setpriv', [...prefix, program, ...args], options),
  };
}

async function findNobody(): Promise<User> {
  const line = /^nobody:[^:]*:(\d+):(\d+):/m.exec(await readFile('/etc/passwd', 'utf8'));
  if (!line) throw new Error('Cannot build a Postgres cluster: neither mount namespaces nor a user nobody are here');
  return { uid: Number(line[1]), gid: Number(line[2]) };
}
