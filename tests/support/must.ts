/** The value, which must be there. */
export function must<T>(value: T | null | undefined, what = 'value'): T {
  if (value === null || value === undefined) throw new Error(`Test needs ${what}, but it is missing`);
  return value;
}
