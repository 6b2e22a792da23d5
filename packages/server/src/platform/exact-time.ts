import { sql, type RawBuilder } from 'kysely';

/**
 * A column of times as RFC 3339 text in UTC, with a fraction as long as it needs: a `Date` would cut microseconds, and what
 * is branched at the time that it then says may lack a commit.
 */
export const exactTime = (column: string): RawBuilder<string | null> =>
  sql`regexp_replace(to_char(${sql.ref(column)} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '[.]?0+Z$', 'Z')`;
