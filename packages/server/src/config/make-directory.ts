import { chmod, mkdir } from 'node:fs/promises';
import { messageOf, PlatformError } from '../kernel/errors.ts';

/** Makes a directory with exactly this mode, and what is missing above it; one that is there stays as it is. */
export async function makeDirectory(path: string, mode: number): Promise<void> {
  try {
    const made = await mkdir(path, { recursive: true, mode });
    if (made) await chmod(path, mode);
  } catch (error) {
    throw new PlatformError('INVALID_REQUEST', `Cannot make the directory ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
