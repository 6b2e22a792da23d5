import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Which of the processes holds the server's end of the TCP connection that came from this local port. */
export function ownerOfConnection(clientPort: number, serverPort: number, pids: readonly number[]): number | undefined {
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0');
  const tables = ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFileSync(path, 'utf8'));
  for (const line of tables.join('\n').split('\n')) {
    const [, local = '', remote = '', , , , , , , inode] = line.trim().split(/\s+/);
    if (!local.endsWith(`:${hex(serverPort)}`) || !remote.endsWith(`:${hex(clientPort)}`)) continue;
    return pids.find((pid) => holdsSocket(pid, `socket:[${inode}]`));
  }
  return undefined;
}

function holdsSocket(pid: number, name: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === name);
  } catch {
    return false;
  }
}
