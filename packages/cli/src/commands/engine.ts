import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { installEngine } from '@tenantry/server/engines/install-engine.ts';
import type { Target } from '../target.ts';

/** `tenantry engine install VERSION`; works whether Tenantry runs or not. */
export async function installEngineCommand({ dataDir }: Target, [verb, version]: readonly string[]): Promise<void> {
  if (verb !== 'install' || version === undefined || !/^\d{1,3}$/.test(version)) {
    throw new Error('Cannot install an engine: say tenantry engine install VERSION, with a version from 14 to 18');
  }
  await mkdir(dataDir, { recursive: true, mode: 0o711 });
  await installEngine(Number(version), {
    enginesDir: join(dataDir, 'engines'),
    onProgress: (line) => console.log(line),
  });
}
