import type { Target } from '../target.ts';

/** `tenantry engine install VERSION`. */
export async function installEngineCommand(target: Target, [verb, version]: readonly string[]): Promise<void> {
  void target;
  if (verb !== 'install' || version === undefined) throw new Error('Usage: tenantry engine install VERSION (14 to 18)');
  throw new Error('to be wired');
}
