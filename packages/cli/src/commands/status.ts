import { adviceFor, type PlatformStatus, readStatus } from '../platform-status.ts';
import { ApiUnreachable, type Target } from '../target.ts';

const list = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');

/** `tenantry status`. */
export async function status(target: Target): Promise<void> {
  const found = await readStatus(target).catch((error: unknown) => {
    if (error instanceof ApiUnreachable && !target.json) {
      console.log(`Tenantry on ${target.dataDir}`);
      printProcesses({ ...target.processes(), metadata: target.processes().metadata ?? 'not known' });
    }
    throw error;
  });
  if (target.json) {
    console.log(JSON.stringify(found, null, 2));
    return;
  }
  const { processes, parts, counts, awake, host, problems } = found;
  console.log(`Tenantry ${found.version} on ${target.dataDir}`);
  const elsewhere = parts['metadata'] === 'ok' ? 'elsewhere' : 'not known';
  printProcesses({ ...processes, metadata: processes.metadata ?? elsewhere });
  const states = Object.entries(parts).map(([part, state]) => `${part} ${state === 'ok' ? 'ok' : 'NOT OK'}`);
  console.log(`  parts       ${states.join(', ')}`);
  for (const [part, state] of Object.entries(parts)) {
    if (state !== 'ok') console.log(`    ${part}: ${state}\n      ${adviceFor(part, found, target)}`);
  }
  if (counts) {
    console.log(`  projects    ${counts.projects}`);
    console.log(`  endpoints   ${list(counts.endpoints) || 'none'}`);
    console.log(`  operations  ${list(counts.operations) || 'all ended'}`);
  } else {
    console.log(`  projects    not known: ${problems.counts}`);
  }
  console.log(
    `  awake       ${host ? `${host.computesAwake} of at most ${host.computesAwakeMax}` : `not known: ${problems.host}`}`,
  );
  if (awake) printAwake(awake);
  else console.log(`    which: not known: ${problems.awake}`);
}

function printProcesses(processes: {
  readonly supervisor: number;
  readonly control: number | null;
  readonly host: number | null;
  readonly gateways: readonly (number | null)[];
  readonly metadata: number | string;
}): void {
  const { supervisor, control, host, gateways, metadata } = processes;
  console.log(
    `  processes   supervisor ${supervisor}, control ${control}, host ${host}, gateways ${gateways.join(' ')}, metadata ${metadata}`,
  );
}

function printAwake(awake: NonNullable<PlatformStatus['awake']>): void {
  for (const { endpoint_id, project_id, project_name, last_active, replica_lag_bytes } of awake) {
    const lag = replica_lag_bytes === null ? '' : `  ${replica_lag_bytes} bytes behind`;
    console.log(`    ${endpoint_id}  ${project_id} (${project_name})  last active ${last_active ?? 'never'}${lag}`);
  }
}
