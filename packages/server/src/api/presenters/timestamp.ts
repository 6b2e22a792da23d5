/** RFC 3339 in UTC with whole seconds, as Neon shows times. Not for a moment of data, which means another commit then. */
export const toTimestamp = (date: Date): string => date.toISOString().replace(/\.\d{3}Z$/, 'Z');

/** The same for a time that may not have been yet. */
export const toOptionalTimestamp = (date: Date | null): string | undefined =>
  date === null ? undefined : toTimestamp(date);
