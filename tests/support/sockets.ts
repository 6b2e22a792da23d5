import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** TCP connections that clients of this machine have to the port. */
export function connectionsTo(serverPort: number): number {
  return tcpSockets().filter(({ localPort, isEstablished }) => localPort === serverPort && isEstablished).length;
}

/** Which of the processes holds the server's end of the TCP connection that came from this local port. */
export function ownerOfConnection(clientPort: number, serverPort: number, pids: readonly number[]): number | undefined {
  const socket = tcpSockets().find((s) => s.localPort === serverPort && s.remotePort === clientPort);
  return socket && pids.find((pid) => holdsSocket(pid, `socket:[${socket.inode}]`));
}

interface TcpSocket {
  readonly localPort: number;
  readonly remotePort: number;
  readonly isEstablished: boolean;
  readonly inode: string;
}

/** As proc(5) describes `/proc/net/tcp`. */
function tcpSockets(): TcpSocket[] {
  const lines = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((path) => readFileSync(path, 'utf8').split('\n').slice(1));
  const port = (address: string): number => Number.parseInt(address.split(':')[1] ?? '', 16);
  return lines.map((line) => {
    const [, local = '', remote = '', state, , , , , , inode = ''] = line.trim().split(/\s+/);
    return { localPort: port(local), remotePort: port(remote), isEstablished: state === '01', inode };
  });
}

function holdsSocket(pid: number, name: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === name);
  } catch {
    return false;
  }
}
