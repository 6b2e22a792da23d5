import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { type Config, readConfig } from '../config/config.ts';
import { type Installation, openInstallation } from '../config/installation.ts';
import { ensureSecrets, type Secrets } from '../config/secrets.ts';
import { createLog, type Log } from '../kernel/log.ts';

/** The root of the repository that this code is in. */
export const CHECKOUT = resolve(import.meta.dirname, '../../../..');

/** What every one of our processes begins with. */
export interface ProcessContext {
  readonly config: Config;
  readonly installation: Installation;
  readonly secrets: Secrets;
  readonly log: Log;
}

/** Reads settings, data directory and secrets, which the supervisor has made before it starts the others. */
export async function openProcessContext(name: string): Promise<ProcessContext> {
  const config = readConfig({}, process.env, availableParallelism(), { cwd: process.cwd(), checkout: CHECKOUT });
  const installation = await openInstallation(config.dataDir);
  const secrets = await ensureSecrets(installation.paths.secrets, config.adminKey);
  return { config, installation, secrets, log: createLog(name, config.logLevel) };
}
