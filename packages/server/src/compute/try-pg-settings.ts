import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Engine } from '../engines/engine.ts';
import { PlatformError } from '../kernel/errors.ts';
import type { Volume } from '../storage/volume-store.ts';
import { toPublicReason } from './postgres-log.ts';

interface Trial {
  readonly engine: Engine;
  readonly volume: Volume;
  readonly pgSettings: Readonly<Record<string, string>>;
}

const TRIAL_MS = 10_000;

/** A start with settings that Postgres refuses would fail, and the endpoint with it; so it is asked before. */
export async function tryPgSettings({ engine, volume, pgSettings }: Trial): Promise<void> {
  const settings = Object.entries(pgSettings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  try {
    // With -C it reads its configuration, prints one setting and ends, whether a server runs on the volume or not.
    await promisify(execFile)(engine.postgresPath, ['-D', volume.dataPath, ...settings, '-C', 'data_directory'], {
      cwd: '/',
      env: { ...engine.env },
      timeout: TRIAL_MS,
      ...(volume.owner ? { uid: volume.owner.uid, gid: volume.owner.gid } : {}),
    });
  } catch (error) {
    const { stderr = '' } = error as { readonly stderr?: string };
    const reason = stderr.split('\n').find((line) => /\b(FATAL|ERROR):/.test(line));
    // Anything else than Postgres' own refusal is no verdict on the settings.
    if (reason === undefined) return;
    throw new PlatformError('INVALID_REQUEST', `Cannot use pg_settings: ${toPublicReason(reason)}`, { cause: error });
  }
}
