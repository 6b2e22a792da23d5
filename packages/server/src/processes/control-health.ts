import { type Kysely, sql } from 'kysely';
import type { DirectoryServer } from '../directory/directory-server.ts';
import type { Host } from '../host/host.ts';
import { messageOf } from '../kernel/errors.ts';
import { withDeadline } from '../kernel/wait.ts';
import type { Tables } from '../metadata/tables.ts';

interface HealthSources {
  readonly metadata: Kysely<Tables>;
  readonly host: Pick<Host, 'info'>;
  readonly directory: Pick<DirectoryServer, 'gateways'>;
  /** How many there should be. */
  readonly gateways: number;
}

const PART_MAX_MS = 2_000;

/** Asks every part whether it serves. Never throws. */
export async function checkHealth({ metadata, host, directory, gateways }: HealthSources): Promise<{
  readonly ok: boolean;
  readonly parts: Readonly<Record<string, string>>;
}> {
  const ask = async (what: string, work: (signal: AbortSignal) => Promise<unknown>): Promise<string> => {
    try {
      await withDeadline(`ask ${what}`, PART_MAX_MS, work);
      return 'ok';
    } catch (error) {
      return messageOf(error);
    }
  };
  const connected = directory.gateways().length;
  const parts = {
    control: 'ok',
    metadata: await ask('the metadata database', () => sql`select 1`.execute(metadata)),
    host: await ask('the host', (signal) => host.info(signal)),
    gateways: connected >= gateways ? 'ok' : `${connected} of ${gateways} connected`,
  };
  return { ok: Object.values(parts).every((state) => state === 'ok'), parts };
}
