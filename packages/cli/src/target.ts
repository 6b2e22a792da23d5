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
  /** Who runs, as the supervisor wrote it down. @throws Error if nothing runs there */
  processes(): Processes;
  /**
   * Calls the API with the operator's key.
   * @throws ApiUnreachable; Error with the API's own message, or one that says that nothing runs
   */
  call(method: 'GET' | 'POST', path: string, maxMs?: number): Promise<unknown>;
}

interface Processes {
  readonly supervisor: number;
  readonly control: number | null;
  readonly host: number | null;
  readonly gateways: readonly (number | null)[];
  readonly metadata: number | null;
  readonly apiPort: number;
}

/** Tenantry runs, but its API does not answer. */
export class ApiUnreachable extends Error {}

/** More than the API takes for any answer. */
const CALL_MAX_MS = 60_000;

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
    processes,
    call: async (method, path, maxMs = CALL_MAX_MS) => {
      const { apiPort, control } = processes();
      const origin = `http://127.0.0.1:${apiPort}`;
      const key =
        process.env['TENANTRY_ADMIN_KEY'] ?? readFileSync(join(dataDir, 'secrets', 'admin-key'), 'utf8').trim();
      const { status, text } = await ask(`${origin}${path}`, key, method, maxMs).catch((error: unknown) => {
        throw new ApiUnreachable(
          `The API does not answer on ${origin}: ${whyUnreachable(error, maxMs, control)}; see ${join(dataDir, 'logs', 'tenantry.log')}`,
        );
      });
      const body = parseAnswer(text);
      if (!body) throw new Error(`Cannot read the answer of ${origin} (status ${status}): is that Tenantry?`);
      if (status >= 400) throw new Error(body.message ?? `The API answered ${status}`);
      return body;
    },
  };
}

async function ask(
  url: string,
  key: string,
  method: string,
  maxMs: number,
): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${key}` },
    signal: AbortSignal.timeout(maxMs),
  });
  return { status: response.status, text: await response.text() };
}

function parseAnswer(text: string): { readonly message?: string } | undefined {
  try {
    return JSON.parse(text) as { readonly message?: string };
  } catch {
    return undefined;
  }
}

/** What is wrong, and what to do. `fetch` itself says "fetch failed", and the reason in the cause. */
function whyUnreachable(error: unknown, maxMs: number, control: number | null): string {
  if (error instanceof Error && error.name === 'TimeoutError') {
    const mend =
      control === null ? '' : `; if it stays so: kill -9 ${control}, it is started again and clients stay connected`;
    return `nothing within ${maxMs / 1_000} s. Control is busy or stuck${mend}`;
  }
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const reason = cause instanceof Error ? cause.message || cause.name : String(cause);
  return (
    `${reason}. Control is starting or cannot start, and is tried again; known endpoints are served meanwhile. ` +
    'If it stays so: look whether its metadata database runs and has room'
  );
}
