import type { PlatformStatus } from '../platform-status.ts';
import type { Target } from '../target.ts';

const list = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');

/** `tenantry status`. */
export async function status(target: Target): Promise<void> {
  const found = (await target.call('GET', '/status')) as PlatformStatus;
  if (target.json) {
    console.log(JSON.stringify(found, null, 2));
    return;
  }
  const { processes, parts, counts, awake, host } = found;
  console.log(`Tenantry ${found.version} on ${target.dataDir}`);
  console.log(
    `  processes   supervisor ${processes.supervisor}, control ${processes.control}, host ${processes.host}, gateways ${processes.gateways.join(' ')}, metadata ${processes.metadata ?? 'elsewhere'}`,
  );
  console.log(
    `  parts       ${Object.entries(parts)
      .map(([part, state]) => `${part} ${state}`)
      .join(', ')}`,
  );
  console.log(`  projects    ${counts.projects}`);
  console.log(`  endpoints   ${list(counts.endpoints) || 'none'}`);
  console.log(`  operations  ${list(counts.operations) || 'all ended'}`);
  console.log(`  awake       ${host.computesAwake} of at most ${host.computesAwakeMax}`);
  for (const { endpoint_id, project_id, project_name, last_active, replica_lag_bytes } of awake) {
    const lag = replica_lag_bytes === null ? '' : `  ${replica_lag_bytes} bytes behind`;
    console.log(`    ${endpoint_id}  ${project_id} (${project_name})  last active ${last_active ?? 'never'}${lag}`);
  }
}
