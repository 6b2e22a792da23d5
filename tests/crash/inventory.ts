import { join } from 'node:path';
import { run } from '../support/run.ts';
import type { RunningPlatform } from '../support/start-platform.ts';

const ID = /(br|ep)-[a-z]+-[a-z]+-[a-z0-9]{8}/g;

/**
 * What the machine holds that the API does not know of, in words: files and processes that carry the id of a branch or
 * endpoint which no project has. Empty when all is well.
 */
export async function findOrphans(platform: RunningPlatform): Promise<string[]> {
  const { api } = platform;
  const known = new Set<string>();
  for (const { id } of await api.projects()) {
    for (const endpoint of await api.endpoints(id)) {
      known.add(endpoint.id);
      known.add(endpoint.branch_id);
    }
  }
  const { stdout } = await run('find', [join(platform.dataDir, 'host'), platform.runDir, '-maxdepth', '6']);
  const onDisk = stdout.split('\n').filter((path) => !path.includes('/base/'));
  const inProcesses = platform.computes().map((p) => `process ${p.pid} on ${p.dataPath}`);
  return [...onDisk, ...inProcesses].filter((text) => [...text.matchAll(ID)].some(([id]) => !known.has(id)));
}

/** Ids of branches that have files here. */
export async function branchesOnDisk(platform: RunningPlatform): Promise<Set<string>> {
  const { stdout } = await run('find', [join(platform.dataDir, 'host'), '-maxdepth', '6', '-name', '*br-*']);
  return new Set([...stdout.matchAll(ID)].map(([id]) => id).filter((id) => id.startsWith('br-')));
}
