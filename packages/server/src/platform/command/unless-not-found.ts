import { PlatformError } from '../../kernel/errors.ts';

/** Waits for the removal of something, which may be gone already. */
export async function unlessNotFound(removal: Promise<void>): Promise<void> {
  try {
    await removal;
  } catch (error) {
    if (!(error instanceof PlatformError && error.code === 'NOT_FOUND')) throw error;
  }
}
