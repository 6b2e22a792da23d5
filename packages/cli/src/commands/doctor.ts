import { PG_VERSIONS } from '@tenantry/server/engines/engine.ts';
import type { PlatformStatus } from '../platform-status.ts';
import type { Target } from '../target.ts';

/** `tenantry doctor`: what is active, what is weaker than it could be, and what to do about it. */
export async function doctor(target: Target): Promise<void> {
  const found = (await target.call('GET', '/status')) as PlatformStatus;
  if (target.json) {
    console.log(JSON.stringify({ parts: found.parts, ...found.host }, null, 2));
    return;
  }
  const { engines, storage, isolation } = found.host;
  const say = (isGood: boolean, what: string, advice: string | null = null): void => {
    console.log(`${isGood ? 'ok  ' : 'weak'}  ${what}`);
    if (advice) console.log(`      ${advice}`);
  };
  for (const [part, state] of Object.entries(found.parts)) say(state === 'ok', `${part}: ${state}`);
  const absent = PG_VERSIONS.filter((version) => !engines.some(({ pgVersion }) => pgVersion === version));
  say(
    engines.length > 0,
    `engines: ${engines.map(({ fullVersion, source }) => `Postgres ${fullVersion} (${source})`).join(', ')}`,
    absent.length > 0 ? `projects with Postgres ${absent.join(', ')}: tenantry engine install VERSION` : null,
  );
  say(
    storage.advice === null,
    `storage: ${storage.backend} at ${storage.location}, ${storage.capabilities.cowClone ? 'copy-on-write' : 'full copies'}`,
    storage.advice,
  );
  say(
    isolation.osUsers,
    `isolation: ${isolation.osUsers ? 'one OS user per project' : 'all computes share one OS user'}`,
  );
  say(
    isolation.cgroups !== 'none',
    `isolation: ${isolation.cgroups === 'none' ? 'no cgroups' : `one cgroup (${isolation.cgroups}) per compute`}`,
    isolation.advice,
  );
}
