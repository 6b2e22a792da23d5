import { join } from 'node:path';
import type { EndpointId } from '@tenantry/contract/ids.ts';
import { DirectoryClient } from '../directory/directory-client.ts';
import { createGateway } from '../gateway/gateway.ts';
import type { ComputeBroker } from '../gateway/ports.ts';
import { ensureCertificates } from '../gateway/tls/certificates.ts';
import { HostClient } from '../host/host-client.ts';
import { GatewayCounters } from './gateway-counters.ts';
import type { ProcessContext } from './process-context.ts';
import type { RunningProcess } from './protocol.ts';

/** How long open sessions may go on after the order to end. */
const DRAIN_MS = 500;

/** The supervisor renews the certificate on disk; gateways look at it this often. */
const CERTIFICATE_LOOK_MS = 3_600_000;

/** One gateway worker: Postgres clients on the shared port, its own copy of the directory, the host on a socket. */
export async function startGateway(context: ProcessContext, workerIndex: number): Promise<RunningProcess> {
  const { config, installation, secrets, log } = context;
  const { runDir, paths } = installation;
  const counters = new GatewayCounters();
  const directory = await DirectoryClient.open({
    gateway: String(workerIndex),
    controlSocket: paths.controlSocket,
    copyPath: join(paths.gateway, `directory-${workerIndex}.ndjson`),
    counters: () => counters.totals(),
    log,
  });
  // Made by the supervisor before this process began; this only reads them.
  const readCertificates = () => ensureCertificates({ directory: paths.secrets, domain: config.domain });
  const host = new HostClient({ socketPath: paths.hostSocket });
  const broker: ComputeBroker = {
    acquire: (endpointId, signal) => host.acquire(endpointId as EndpointId, signal),
    findRoleVerifier: (endpointId, role, signal) => host.findRoleVerifier(endpointId as EndpointId, role, signal),
  };
  const gateway = createGateway({
    listenAddress: config.listenAddress,
    pgPort: config.pgPort,
    domain: config.domain,
    workerIndex,
    workers: config.gatewayWorkers,
    runDir,
    certificates: await readCertificates(),
    mockAuthKey: secrets.mockAuthKey,
    directory,
    broker,
    observer: counters,
    log,
    drainMs: DRAIN_MS,
  });
  const { port } = await gateway.listen();
  const refresh = setInterval(() => {
    readCertificates().then(
      (certificate) => gateway.useCertificate(certificate),
      (error: unknown) => log.error({ err: error }, 'Cannot read the certificate'),
    );
  }, CERTIFICATE_LOOK_MS);
  return {
    ready: () => ({ pgPort: port }),
    end: async () => {
      clearInterval(refresh);
      await gateway.stop();
      await directory.close();
    },
  };
}
