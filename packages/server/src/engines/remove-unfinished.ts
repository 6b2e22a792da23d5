import { readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { removeUnfinishedFiles, UNFINISHED_FILE } from '../kernel/atomic-file.ts';
import { codeOf } from '../kernel/errors.ts';
import { INSTALL_DEADLINE_MS } from './install-engine.ts';
import { UNFINISHED_COPY } from './npm-engine.ts';
import { npmInstallDir } from './npm-packages.ts';

/**
 * Removes what processes that were killed have left half made below the engines directory. Copies are made by the platform
 * alone: call it before any process of it runs. `tenantry engine install` may be at work beside it, so of its folders only
 * those go that none can be working on any more.
 */
export async function removeUnfinishedEngines(enginesDir: string): Promise<void> {
  for (const name of await readdir(enginesDir)) {
    if (name.startsWith(UNFINISHED_COPY)) await rm(join(enginesDir, name), { recursive: true, force: true });
  }
  await removeUnfinishedFiles(enginesDir);
  const installsDir = dirname(npmInstallDir(enginesDir, 0));
  for (const name of await readdir(installsDir).catch(noneIfMissing)) {
    if (!UNFINISHED_FILE.test(name)) continue;
    const path = join(installsDir, name);
    // Gone meanwhile: it was finished.
    const changedAtMs = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => Infinity,
    );
    if (Date.now() - changedAtMs > 2 * INSTALL_DEADLINE_MS) await rm(path, { recursive: true, force: true });
  }
}

function noneIfMissing(error: unknown): string[] {
  if (codeOf(error) === 'ENOENT') return [];
  throw error;
}
