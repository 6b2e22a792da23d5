import type { Config } from '../config/config.ts';
import { type RunningPlatform, Supervisor } from './supervisor.ts';

/** `./start`: runs the platform until SIGINT or SIGTERM, and tells the person (or, with `json`, the program) how to use it. */
export async function runPlatform(config: Config, { json }: { readonly json: boolean }): Promise<void> {
  const stop = Promise.withResolvers<void>();
  process.on('SIGINT', () => stop.resolve());
  process.on('SIGTERM', () => stop.resolve());

  const tell = (line: string): void => {
    if (!json) process.stdout.write(`${line}\n`);
  };
  tell('Tenantry is starting (a first start makes the metadata database: some seconds) ...');
  const supervisor = await Supervisor.open(config);
  process.on('SIGHUP', () => void supervisor.restartProcesses());

  let trouble = '';
  const onTrouble = (message: string): void => {
    if (message === trouble) return;
    trouble = message;
    process.stderr.write(
      `The API does not start: ${message}\nKnown endpoints are served meanwhile. Trying again ...\n`,
    );
  };
  const isStoppedEarly = await Promise.race([
    supervisor.start(onTrouble).then((platform) => {
      process.stdout.write(json ? `${readyLine(config, platform)}\n` : banner(config, platform));
      return false;
    }),
    stop.promise.then(() => true),
  ]);
  if (!isStoppedEarly) await stop.promise;
  tell('Stopping: sessions, computes, metadata ...');
  const left = await supervisor.end('stop');
  if (left.length > 0) process.stderr.write(`${supervisor.tellLeft(left)}\n`);
  else tell('Stopped.');
  process.exit(left.length > 0 ? 1 : 0);
}

const hostOf = ({ listenAddress, domain }: Config): string =>
  domain === 'localhost' ? (listenAddress === '127.0.0.1' ? 'localhost' : listenAddress) : domain;

function readyLine(config: Config, { apiPort, adminKey, pgPort, httpsPort, caPath }: RunningPlatform): string {
  return JSON.stringify({
    ready: true,
    api_url: `http://${hostOf(config)}:${apiPort}/api/v2`,
    admin_key: adminKey,
    pg_port: pgPort,
    https_port: httpsPort,
    ca_cert: caPath,
  });
}

function banner(config: Config, { apiPort, adminKey, pgPort, caPath, logPath }: RunningPlatform): string {
  const host = hostOf(config);
  const moved = pgPort !== config.pgPort && !config.isPgPortFixed ? ` (port ${config.pgPort} was taken)` : '';
  return `
Tenantry is ready.

  API        http://${host}:${apiPort}/api/v2
  API key    ${adminKey}
  Postgres   ${host}:${pgPort}${moved}
  CA         ${caPath}
  Log        ${logPath}

Make a database:

  curl -s -X POST http://${host}:${apiPort}/api/v2/projects \\
    -H "Authorization: Bearer ${adminKey}" -H "Content-Type: application/json" \\
    -d '{"project":{"name":"tenant-acme-corp"}}'

Connect to it, with the connection_uri of that answer:

  psql '<connection_uris[0].connection_uri>'     # such as postgresql://neondb_owner:...@${host}:${pgPort}/neondb?options=endpoint%3Dep-...

Ctrl-C stops everything, the databases too.
`;
}
