import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import type { Secrets } from '../config/secrets.ts';
import { DEFAULT_PG_VERSION } from '../engines/engine.ts';
import { createEngineStore } from '../engines/engine-store.ts';
import { startHostServer } from '../host/host-server.ts';
import { createLocalHost } from '../host/local-host.ts';
import { makeVerifier } from '../kernel/scram-verifier.ts';
import { Secret } from '../kernel/secret.ts';
import { createVolumeStore } from '../storage/local-volume-store.ts';
import { closeStorage } from '../storage/pool.ts';
import { CHECKOUT, type ProcessContext } from './process-context.ts';
import type { RunningProcess } from './protocol.ts';

/** The id of the one host of a single machine. */
export const LOCAL_HOST_ID = 'local';

/**
 * The platform's own password has 256 random bits, which stretching cannot make harder to guess, and each login of
 * ours pays for every round; so the least count that Postgres' clients accept as honest work is not needed here.
 */
const ADMIN_VERIFIER_ITERATIONS = 1;

/** The same at every start: templates hold it, and are made anew when it changes. Its salt is made of the password. */
function adminVerifier({ computeAdminPassword }: Secrets): Secret {
  const password = computeAdminPassword.reveal();
  const salt = createHmac('sha256', password).update('salt of cloud_admin').digest().subarray(0, 16);
  return new Secret(makeVerifier(password, ADMIN_VERIFIER_ITERATIONS, salt));
}

/** The host process: this machine's engines, volumes and computes, served on a unix socket. */
export async function startHost({ config, installation, secrets, log }: ProcessContext): Promise<RunningProcess> {
  const { isRoot, uidBase, runDir, paths } = installation;
  const engineRunAs = isRoot ? { uid: uidBase, gid: uidBase } : null;
  const engines = createEngineStore({
    enginesDir: paths.engines,
    packagesDirs: [join(CHECKOUT, 'node_modules')],
    runAs: engineRunAs,
    log,
  });
  const volumes = await createVolumeStore({
    hostDir: paths.host,
    setting: config.storage,
    isRoot,
    engineRunAs,
    adminVerifier: adminVerifier(secrets),
    log,
  });
  await volumes.recover();
  try {
    await volumes.prepare(await engines.get(DEFAULT_PG_VERSION));
  } catch (error) {
    // A full disk must not keep existing computes from waking; the first create tries again and tells its caller.
    log.warn({ err: error }, 'The default template is not ready');
  }
  const host = await createLocalHost({
    hostId: LOCAL_HOST_ID,
    hostDir: paths.host,
    runDir,
    logsDir: paths.logs,
    isRoot,
    uidBase,
    computeAdminPassword: secrets.computeAdminPassword,
    volumes,
    engines,
    computesAwakeMax: config.computesAwakeMax,
    log,
  });
  const server = await startHostServer({ host, socketPath: paths.hostSocket, log });
  return {
    ready: () => ({}),
    end: async (mode) => {
      if (mode === 'stop') await host.stopAll();
      else await host.detach();
      await server.close();
      if (mode === 'stop' && !(await closeStorage(paths.host)))
        log.warn('The storage pool is in use and stays mounted');
    },
  };
}
