import { type Config, SETTINGS } from '../config/config.ts';
import type { Secret } from '../kernel/secret.ts';

/** The environment of our processes: the supervisor's own, with every setting as it was resolved from flags. */
export function childEnvironment(
  config: Config,
  ports: { readonly apiPort: number; readonly pgPort: number; readonly httpsPort: number },
  adminKey: Secret,
): NodeJS.ProcessEnv {
  const values: Record<keyof typeof SETTINGS, string> = {
    dataDir: config.dataDir,
    listenAddress: config.listenAddress,
    apiPort: String(ports.apiPort),
    pgPort: String(ports.pgPort),
    httpsPort: String(ports.httpsPort),
    domain: config.domain,
    databaseUrl: config.databaseUrl?.reveal() ?? '',
    storage: config.storage,
    adminKey: adminKey.reveal(),
    minSuspendSeconds: String(config.minSuspendSeconds),
    apiRequestsPerMinute: String(config.apiRequestsPerMinute),
    archiveAfterDays: String(config.archiveAfterDays),
    gatewayWorkers: String(config.gatewayWorkers),
    computesAwakeMax: config.computesAwakeMax === null ? '' : String(config.computesAwakeMax),
    logTo: config.logTo,
    logLevel: config.logLevel,
  };
  const names = Object.keys(SETTINGS) as (keyof typeof SETTINGS)[];
  return { ...process.env, ...Object.fromEntries(names.map((name) => [SETTINGS[name].env, values[name]])) };
}
