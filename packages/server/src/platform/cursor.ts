import { badField } from './checks.ts';

/** A place in a list, opaque to clients: the sort keys of the last item that was given. */
export const toCursor = (keys: readonly string[]): string => Buffer.from(JSON.stringify(keys)).toString('base64url');

/** @throws PlatformError INVALID_REQUEST for anything that `toCursor` with as many keys did not make */
export function parseCursor(cursor: string, keyCount: number): readonly string[] {
  try {
    const keys: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (
      Array.isArray(keys) &&
      keys.length === keyCount &&
      keys.every((k) => typeof k === 'string' && !k.includes('\0'))
    ) {
      return keys as string[];
    }
  } catch {
    // Told below.
  }
  throw badField('cursor', 'the cursor of an earlier answer, unchanged');
}

/** A cursor key that has to be a time. */
export function parseCursorTime(key: string): Date {
  const time = new Date(key);
  if (Number.isNaN(time.getTime())) throw badField('cursor', 'the cursor of an earlier answer, unchanged');
  return time;
}

/** The first `limit` of `limit + 1` rows that were asked for, with the cursor to go on if there are more. */
export function toPage<Row, T>(
  rows: readonly Row[],
  limit: number,
  { keys, toItem }: { keys: (row: Row) => readonly string[]; toItem: (row: Row) => T },
): { items: readonly T[]; nextCursor?: string } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const items = shown.map(toItem);
  return rows.length > limit && last ? { items, nextCursor: toCursor(keys(last)) } : { items };
}

/** In a `like` pattern, the text itself. */
export const escapeLike = (text: string): string => text.replaceAll(/[\\%_]/g, String.raw`\$&`);
