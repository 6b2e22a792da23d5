import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { messageOf, PlatformError } from '../kernel/errors.ts';
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

/** The same for a user without rights: mounts need a user namespace in which it is root, and it is itself in the next. */
const UNPRIVILEGED = [...CONFINED, '--user', '--map-root-user'];
const WITH_PASSWD_UNPRIVILEGED = `mount --bind "$1" /etc/passwd && u=$2 g=$3 && shift 3 && exec unshare --user --map-user="$u" --map-group="$g" -- setpriv --pdeathsig KILL -- "$@"`;

/**
 * `initdb` and single-user Postgres insist on a name for their user, and ours are bare numbers. So they get a mount
 * namespace of their own with a one-line /etc/passwd. Where the kernel forbids that (a container without
 * CAP_SYS_ADMIN) they run as `nobody`, and the caller gives the files to their owner afterwards.
 * @throws PlatformError INVALID_REQUEST without root, if our own user has no name and may not be given one
 */
export async function createBuildUser({ runAs, workDir, log }: BuildUserOptions): Promise<BuildUser> {
  if (!runAs) return await createOwnUser(workDir);
  try {
    await runProgram('setpriv', [...CONFINED, 'true'], { deadlineMs: PROBE_DEADLINE_MS });
  } catch (error) {
    const nobody = await findNobody();
    log.warn({ reason: messageOf(error) }, 'no mount namespace: cluster is built as nobody');
    return { owner: nobody, run: (program, args, options) => runProgram(program, args, { ...options, runAs: nobody }) };
  }
  const prefix = await namedPrefix([...CONFINED, 'sh', '-c', WITH_PASSWD], runAs, workDir);
  return {
    owner: runAs,
    run: (program, args, options) => runProgram('setpriv', [...prefix, program, ...args], options),
  };
}

/** The user that runs Tenantry, who in a container may be a bare number too. */
async function createOwnUser(workDir: string): Promise<BuildUser> {
  if (hasName()) return { owner: null, run: runProgram };
  const own = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const prefix = await namedPrefix([...UNPRIVILEGED, 'sh', '-c', WITH_PASSWD_UNPRIVILEGED], own, workDir);
  try {
    await runProgram('setpriv', [...prefix, 'true'], { deadlineMs: PROBE_DEADLINE_MS });
  } catch (cause) {
    throw new PlatformError(
      'INVALID_REQUEST',
      `Cannot build a Postgres cluster: user ${own.uid} has no name here, and Postgres needs one. Add a line for it to /etc/passwd, such as tenantry:x:${own.uid}:${own.gid}::/:/bin/false`,
      { cause },
    );
  }
  return {
    owner: null,
    run: (program, args, options) => runProgram('setpriv', [...prefix, program, ...args], options),
  };
}

function hasName(): boolean {
  try {
    return userInfo().username !== '';
  } catch {
    return false;
  }
}

/** Words to put before a program. The passwd file with the user's one line stays in `workDir`. */
async function namedPrefix(words: readonly string[], { uid, gid }: User, workDir: string): Promise<readonly string[]> {
  const passwdPath = join(workDir, 'passwd');
  await writeFileAtomic(passwdPath, `tenantry:x:${uid}:${gid}::/:/bin/false\n`, 0o644);
  return [...words, 'sh', passwdPath, `${uid}`, `${gid}`];
}

async function findNobody(): Promise<User> {
  const line = /^nobody:[^:]*:(\d+):(\d+):/m.exec(await readFile('/etc/passwd', 'utf8'));
  if (!line) throw new Error('Cannot build a Postgres cluster: neither mount namespaces nor a user nobody are here');
  return { uid: Number(line[1]), gid: Number(line[2]) };
}
