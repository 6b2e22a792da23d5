import { isNoSpace, PlatformError } from '../../kernel/errors.ts';
import { toFinalError } from './operation-failure.ts';

/**
 * For a step: whoever waits for something new is served better by an error now than by space that may come later.
 * @param what such as `create the project`
 */
export async function unlessFull<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    const message = `Cannot ${what}: the disk that holds the data directory is full. Free space, then retry`;
    throw toFinalError(
      error instanceof PlatformError && error.code === 'NO_SPACE' ? error : new PlatformError('NO_SPACE', message),
    );
  }
}
