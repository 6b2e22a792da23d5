import { ID_PATTERN } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../kernel/errors.ts';

const ID = new RegExp(ID_PATTERN, 'u');
// Control characters in a name only serve to fool a log, a terminal or a configuration file.
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/u;

/** A field out of its bounds. @param field as the API names it @param takes what it takes */
export const badField = (field: string, takes: string): PlatformError =>
  new PlatformError('INVALID_REQUEST', `Cannot accept ${field}: it takes ${takes}`, { details: { field } });

/** Also for objects that the principal may not see. */
export const notFound = (what: string, id: string): PlatformError =>
  new PlatformError('NOT_FOUND', `Cannot find ${what} ${printable(id)}: it does not exist, or this key may not see it`);

/** What a client sent, safe to show in a message. */
export const printable = (text: string): string =>
  JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text).slice(1, -1);

/** False for what no id of ours looks like, and Postgres perhaps could not even be asked about. */
export const isId = (text: string): boolean => ID.test(text);

/** Well-formed Unicode without control characters: safe to store, to quote and to show. */
export const isPlainText = (text: string): boolean => text.isWellFormed() && !CONTROL.test(text);

/** @throws PlatformError INVALID_REQUEST */
export function checkName(field: string, name: string): string {
  const length = Array.from(name).length;
  if (length < 1 || length > 256 || !isPlainText(name) || name.trim() === '') {
    throw badField(field, '1 to 256 characters, not all spaces, without control characters');
  }
  return name;
}

/** @throws PlatformError INVALID_REQUEST */
export function checkInteger(field: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw badField(field, `a whole number from ${min} to ${max}`);
  }
  return value;
}
