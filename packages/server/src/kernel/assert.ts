/** Ends the current work with a bug report if an invariant does not hold. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Bug: ${message}`);
}

/** The value, which must be there. */
export function must<T>(value: T | null | undefined, message = 'value is missing'): T {
  assert(value !== null && value !== undefined, message);
  return value;
}

/** Proves to the compiler that a union is exhausted. */
export function unreachable(value: never): never {
  throw new Error(`Bug: unreachable value ${JSON.stringify(value)}`);
}
