import { createHash, randomInt } from 'node:crypto';
import { realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from '../kernel/atomic-file.ts';
import { PlatformError } from '../kernel/errors.ts';
import { makeDirectory } from './make-directory.ts';

/** One data directory and the places that belong to it. */
export interface Installation {
  readonly isRoot: boolean;
  readonly dataDir: string;
  /** Short, for sockets: a unix socket's path has about 100 bytes. */
  readonly runDir: string;
  /**
   * The data directory under a path that tenants' OS users can walk: itself, or a bind mount of it below `runDir`
   * where a parent directory (a private home, say) keeps others out.
   */
  readonly reachableDataDir: string;
  readonly needsBindMount: boolean;
  /** As root: first of the numeric OS users of this installation. */
  readonly uidBase: number;
  readonly paths: {
    readonly secrets: string;
    readonly engines: string;
    readonly metadata: string;
    readonly host: string;
    readonly gateway: string;
    readonly logs: string;
    readonly processes: string;
    readonly hostSocket: string;
    readonly controlSocket: string;
  };
}

/**
 * OS users are taken from a range that neither distributions nor container tools hand out
 * (systemd.io/UIDS-GIDS lists 1,879,048,192 to 2,147,483,647 as unused), a slice of it per installation.
 */
const UID_RANGE_START = 1_900_000_000;
const UIDS_PER_INSTALLATION = 100_000;
const UID_SLICES = 2_000;

interface InstallationFile {
  readonly uidBase: number;
  readonly needsBindMount: boolean;
}

/** Opens the data directory, making it and its parts at first use. */
export async function openInstallation(dataDir: string): Promise<Installation> {
  const isRoot = process.getuid?.() === 0;
  await makeDirectory(dataDir, 0o711);
  const path = await realpath(dataDir);
  const file = join(path, 'installation.json');
  const kept = await readFileIfExists(file);
  let facts: InstallationFile;
  if (kept) {
    facts = JSON.parse(kept) as InstallationFile;
  } else {
    facts = {
      uidBase: UID_RANGE_START + randomInt(UID_SLICES) * UIDS_PER_INSTALLATION,
      needsBindMount: isRoot && process.platform === 'linux' && !(await canOthersWalkTo(path)),
    };
    await writeFileAtomic(file, JSON.stringify(facts), 0o644);
  }

  const hash = createHash('sha256').update(path).digest('hex').slice(0, 8);
  const runDir =
    isRoot && process.platform === 'linux'
      ? `/run/tenantry/${hash}`
      : `/tmp/tenantry-${process.getuid?.() ?? 0}-${hash}`;
  const reachableDataDir = facts.needsBindMount ? join(runDir, 'data') : path;
  const installation: Installation = {
    isRoot,
    dataDir: path,
    runDir,
    reachableDataDir,
    needsBindMount: facts.needsBindMount,
    uidBase: facts.uidBase,
    paths: {
      secrets: join(path, 'secrets'),
      engines: join(reachableDataDir, 'engines'),
      metadata: join(reachableDataDir, 'metadata'),
      host: join(reachableDataDir, 'host'),
      gateway: join(path, 'gateway'),
      logs: join(reachableDataDir, 'logs'),
      processes: join(path, 'processes.json'),
      hostSocket: join(runDir, 'host.sock'),
      controlSocket: join(runDir, 'control.sock'),
    },
  };
  return installation;
}

/** Makes the run directory (gone after a reboot) and the parts of the data directory. */
export async function makeDirectories({ isRoot, dataDir, runDir }: Installation): Promise<void> {
  if (isRoot) await makeDirectory(dirname(runDir), 0o711);
  await makeDirectory(runDir, isRoot ? 0o711 : 0o700);
  const owner = (await stat(runDir)).uid;
  if (owner !== process.getuid?.()) {
    throw new PlatformError('CONFLICT', `Cannot use ${runDir}: it belongs to another user (uid ${owner}); remove it`);
  }
  for (const name of ['engines', 'host', 'logs']) await makeDirectory(join(dataDir, name), isRoot ? 0o711 : 0o700);
  for (const name of ['secrets', 'gateway']) await makeDirectory(join(dataDir, name), 0o700);
}

async function canOthersWalkTo(path: string): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    if (((await stat(at)).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}
