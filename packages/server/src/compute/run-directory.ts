import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FileOwner } from '../storage/volume-store.ts';

/** Where one life of a compute has its configuration and its socket. Short: a socket path must stay under 100 bytes. */
export interface RunDirectory {
  readonly path: string;
  readonly configPath: string;
  readonly hbaPath: string;
  readonly identPath: string;
  readonly socketDirectory: string;
  /** What clients connect to. */
  readonly socketPath: string;
}

/** Every compute listens on this port number of its own socket directory. */
const SOCKET_PORT = 5432;

/** SCRAM for all on the socket, and nothing else: no address, no replication by another way, no trust. */
const HBA_TEXT = 'local all all scram-sha-256\n';

export function runDirectoryAt(path: string): RunDirectory {
  const socketDirectory = join(path, 's');
  return {
    path,
    configPath: join(path, 'postgresql.conf'),
    hbaPath: join(path, 'pg_hba.conf'),
    identPath: join(path, 'pg_ident.conf'),
    socketDirectory,
    socketPath: join(socketDirectory, `.s.PGSQL.${SOCKET_PORT}`),
  };
}

/**
 * Makes the directory. The tenant's user may read the configuration and write into the socket directory only.
 * Synchronous and without fsync: it is a matter of microseconds on the way of a wake, and holds nothing that outlives
 * the process.
 */
export function makeRunDirectory(directory: RunDirectory, configText: string, owner: FileOwner | null): void {
  mkdirSync(directory.path, { mode: 0o750 });
  mkdirSync(directory.socketDirectory, { mode: 0o700 });
  writeConfigFile(directory, configText, owner);
  writeReadable(directory.hbaPath, HBA_TEXT, owner);
  writeReadable(directory.identPath, '', owner);
  if (!owner) return;
  chownSync(directory.path, process.getuid?.() ?? 0, owner.gid);
  chmodSync(directory.path, 0o750);
  chownSync(directory.socketDirectory, owner.uid, owner.gid);
}

export function writeConfigFile(directory: RunDirectory, configText: string, owner: FileOwner | null): void {
  writeReadable(directory.configPath, configText, owner);
}

function writeReadable(path: string, text: string, owner: FileOwner | null): void {
  writeFileSync(path, text, { mode: 0o640 });
  if (owner) chownSync(path, process.getuid?.() ?? 0, owner.gid);
}
