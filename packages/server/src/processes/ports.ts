import { once } from 'node:events';
import { createServer } from 'node:net';
import { codeOf, messageOf, PlatformError } from '../kernel/errors.ts';

/** How many ports after the wanted one are tried before giving up. */
const PORTS_TRIED_MAX = 100;

/** The port itself if it is free (for 0: some free one); throws the system's error if it is not. */
async function probePort(address: string, port: number): Promise<number> {
  const server = createServer();
  server.listen({ host: address, port, exclusive: true });
  await once(server, 'listening');
  const bound = server.address();
  server.close();
  await once(server, 'close');
  return typeof bound === 'object' && bound ? bound.port : port;
}

/**
 * A port that can be listened on now. Gateways share their port by SO_REUSEPORT, which would let two installations
 * share it unseen: this look is what keeps them apart.
 * @param isFixed false: the next free port after `port` will do
 * @throws PlatformError CONFLICT that names the port and the setting
 */
export async function findPort(address: string, port: number, isFixed: boolean, settingName: string): Promise<number> {
  for (let candidate = port; ; candidate += 1) {
    try {
      return await probePort(address, candidate);
    } catch (error) {
      const isTaken = codeOf(error) === 'EADDRINUSE' || codeOf(error) === 'EACCES';
      if (!isTaken || isFixed || candidate >= port + PORTS_TRIED_MAX) {
        throw new PlatformError(
          'CONFLICT',
          `Cannot listen on ${address}:${candidate} (${messageOf(error)}): free it or choose another port with ${settingName}`,
          { cause: error },
        );
      }
    }
  }
}
