import { randomInt } from 'node:crypto';
import { ADJECTIVES, NOUNS } from './id-words.ts';

/** `sparkling-hill-99143322`: no prefix, as Neon's. */
export type ProjectId = string & { readonly __id?: 'project' };
export type BranchId = `br-${string}`;
export type EndpointId = `ep-${string}`;
export type SnapshotId = `snap-${string}`;
export type OrganizationId = `org-${string}`;

const ALPHANUMERIC = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** Every public id of ours, and every one that a client may name. */
export const ID_PATTERN = '^[a-z0-9-]{1,60}$';

const pick = (list: readonly string[]): string => list[randomInt(list.length)] ?? '';
const digits = (length: number): string => Array.from({ length }, () => randomInt(10)).join('');

/** Random characters of an alphabet, from the system's secure source. */
export function randomText(length: number, alphabet = ALPHANUMERIC): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');
}

const words = (): string => `${pick(ADJECTIVES)}-${pick(NOUNS)}`;

export const newProjectId = (): ProjectId => `${words()}-${digits(8)}`;
export const newBranchId = (): BranchId => `br-${words()}-${randomText(8)}`;
export const newEndpointId = (): EndpointId => `ep-${words()}-${randomText(8)}`;
export const newSnapshotId = (): SnapshotId => `snap-${words()}-${randomText(8)}`;
/** Of a volume that replaces another of its branch; the first one bears the branch's id. */
export const newVolumeId = (): string => `vol-${randomText(20)}`;
export const newOrganizationId = (): OrganizationId => `org-${words()}-${digits(8)}`;

export const isEndpointId = (text: string): text is EndpointId => /^ep-[a-z0-9-]{1,57}$/.test(text);
export const isBranchId = (text: string): text is BranchId => /^br-[a-z0-9-]{1,57}$/.test(text);

const PASSWORD_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** `npg_` + 16 characters (95 bits): the prefix lets secret scanners find it, the alphabet needs no URI escape. */
export const newRolePassword = (): string => `npg_${randomText(16, PASSWORD_ALPHABET)}`;

/** `napi_` + 48 characters. Shown once, stored hashed. */
export const newApiKey = (): string => `napi_${randomText(48)}`;
