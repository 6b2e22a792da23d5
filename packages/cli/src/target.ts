import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { dataDirectory } from '@tenantry/server/config/config.ts';

/** The platform that a command is about: a data directory, and the API of what runs on it. */
export interface Target {
  readonly dataDir: string;
  readonly checkout: string;
  readonly json: boolean;
  /** Pid of the supervisor. @throws Error if nothing runs there */
  supervisorPid(): number;
  /**
   * Calls the API with the operator's key.
   * @throws Error with the API's own message, or one that says that nothing runs
   */
  call(method: 'GET' | 'POST', path: string): Promise<unknown>;
}

interface Processes {
  readonly supervisor: number;
  readonly apiPort: number;
}

const CALL_MAX_MS = 30_000;

export function openTarget({
  dataDir: given,
  json,
}: {
  readonly dataDir: string | undefined;
  readonly json: boolean;
}): Target {
  const checkout = resolve(import.meta.dirname, '../../..');
  const dataDir = dataDirectory(given ?? process.env['TENANTRY_DATA_DIR'], process.cwd(), checkout);

  const processes = (): Processes => {
    try {
      const found = JSON.parse(readFileSync(join(dataDir, 'processes.json'), 'utf8')) as Processes;
      process.kill(found.supervisor, 0);
      return found;
    } catch {
      throw new Error(`Tenantry does not run on ${dataDir}: start it with ./start`);
    }
  };

  return {
    dataDir,
    checkout,
    json,
    supervisorPid: () => processes().supervisor,
    call: async (method, path) => {
      const { apiPort } = processes();
      const key =
        process.env['TENANTRY_ADMIN_KEY'] ?? readFileSync(join(dataDir, 'secrets', 'admin-key'), 'utf8').trim();
      const response = await fetch(`http://127.0.0.1:${apiPort}${path}`, {
        method,
        headers: { authorization: `Bearer ${key}` },
        signal: AbortSignal.timeout(CALL_MAX_MS),
      });
      const body = (await response.json()) as { readonly message?: string };
      if (!response.ok) throw new Error(body.message ?? `The API answered ${response.status}`);
      return body;
    },
  };
}
