import { PG_VERSIONS } from '@tenantry/server/engines/engine.ts';
import { adviceFor, readStatus } from '../platform-status.ts';
import type { Target } from '../target.ts';

/** `tenantry doctor`: what is active, what is weaker than it could be, and what to do about it. */
export async function doctor(target: Target): Promise<void> {
  const found = await readStatus(target);
  if (target.json) {
    console.log(JSON.stringify({ parts: found.parts, problems: found.problems, ...found.host }, null, 2));
    return;
  }
  const say = (isGood: boolean, what: string, advice: string | null = null): void => {
    console.log(`${isGood ? 'ok  ' : 'weak'}  ${what}`);
    if (advice) console.log(`      ${advice}`);
  };
  for (const [part, state] of Object.entries(found.parts)) {
    const isGood = state === 'ok';
    say(isGood, `${part}: ${state}`, isGood ? null : adviceFor(part, found, target));
  }
  if (!found.host) {
    say(false, `engines, storage, isolation: not known. ${found.problems.host}`);
    return;
  }
  const { engines, storage, isolation } = found.host;
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
