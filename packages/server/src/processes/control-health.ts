import { type Kysely, sql } from 'kysely';
import type { DirectoryServer } from '../directory/directory-server.ts';
import type { Host } from '../host/host.ts';
import type { Tables } from '../metadata/tables.ts';
import { askPart } from './ask-part.ts';

interface HealthSources {
  readonly metadata: Kysely<Tables>;
  readonly host: Pick<Host, 'info'>;
  readonly directory: Pick<DirectoryServer, 'gateways'>;
  /** How many there should be. */
  readonly gateways: number;
}

/** Asks every part whether it serves. Never throws. */
export async function checkHealth({ metadata, host, directory, gateways }: HealthSources): Promise<{
  readonly ok: boolean;
  readonly parts: Readonly<Record<string, string>>;
}> {
  const [database, machine] = await Promise.all([
    askPart('ask the metadata database', () => sql`select 1`.execute(metadata)),
    askPart('ask the host', (signal) => host.info(signal)),
  ]);
  const connected = directory.gateways().length;
  const parts = {
    control: 'ok',
    metadata: database.problem ?? 'ok',
    host: machine.problem ?? 'ok',
    gateways: connected >= gateways ? 'ok' : `${connected} of ${gateways} connected`,
  };
  return { ok: Object.values(parts).every((state) => state === 'ok'), parts };
}
