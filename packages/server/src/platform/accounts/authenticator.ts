import { PlatformError } from '../../kernel/errors.ts';
import { findApiKeyByHash, hashApiKey, markApiKeyUsed } from '../api-keys/api-key-rows.ts';
import type { PlatformDeps } from '../context.ts';
import type { Principal } from '../platform.ts';
import { listOrganizationIdsOf } from './account-rows.ts';

/** Keys that are remembered; the oldest goes first. */
const KEYS_MAX = 10_000;
/** How long a key that another process revoked may go on. */
const TTL_MS = 30_000;
/** How exact `last_used_at` is. */
const USE_INTERVAL_MS = 60_000;
const KEY = /^[\x21-\x7e]{16,256}$/;

interface Remembered {
  readonly principal: Principal;
  readonly expiresAtMs: number;
}

/**
 * Knows principals by their keys. Remembers those seen lately, so that not every request asks the metadata database;
 * what this process revokes, `forget` drops at once.
 */
export class Authenticator {
  readonly #deps: PlatformDeps;
  /** By hash, in hex; oldest first. */
  readonly #known = new Map<string, Remembered>();
  /** Key id -> when its use was last noted. */
  readonly #notedAtMs = new Map<number, number>();
  /** Grows with each revocation: a look-up that began before it must not be remembered. */
  #revocations = 0;

  constructor(deps: PlatformDeps) {
    this.#deps = deps;
  }

  /** @throws PlatformError UNAUTHENTICATED, METADATA_UNAVAILABLE for a key that is not remembered */
  async authenticate(key: string, fromAddress: string): Promise<Principal> {
    if (!KEY.test(key)) throw unknownKey();
    const hash = hashApiKey(key);
    const principal = this.#recall(hash) ?? (await this.#lookUp(hash));
    this.#noteUse(principal.apiKeyId, fromAddress);
    return principal;
  }

  forget(apiKeyId: number): void {
    this.#revocations += 1;
    for (const [hash, { principal }] of this.#known) {
      if (principal.apiKeyId === apiKeyId) this.#known.delete(hash);
    }
    this.#notedAtMs.delete(apiKeyId);
  }

  #recall(hash: Buffer): Principal | undefined {
    const remembered = this.#known.get(hash.toString('hex'));
    return remembered && remembered.expiresAtMs > this.#deps.now().getTime() ? remembered.principal : undefined;
  }

  async #lookUp(hash: Buffer): Promise<Principal> {
    const { metadata, now } = this.#deps;
    const revocations = this.#revocations;
    const key = await findApiKeyByHash(metadata, hash);
    if (!key) throw unknownKey();
    const { organizationId, projectId, userId, apiKeyId } = key;
    const organizationIds = organizationId ? [organizationId] : await listOrganizationIdsOf(metadata, userId);
    const who = { apiKeyId, userId, organizationIds };
    const principal: Principal = projectId
      ? { ...who, kind: 'project', projectId }
      : { ...who, kind: organizationId ? 'organization' : 'user' };
    if (revocations === this.#revocations) {
      const name = hash.toString('hex');
      this.#known.delete(name);
      this.#known.set(name, { principal, expiresAtMs: now().getTime() + TTL_MS });
      dropOldest(this.#known);
    }
    return principal;
  }

  /** Not worth a wait, nor a failure. */
  #noteUse(apiKeyId: number, fromAddress: string): void {
    const { metadata, now, log } = this.#deps;
    const usedAt = now();
    const noted = this.#notedAtMs.get(apiKeyId) ?? 0;
    if (usedAt.getTime() - noted < USE_INTERVAL_MS) return;
    this.#notedAtMs.delete(apiKeyId);
    this.#notedAtMs.set(apiKeyId, usedAt.getTime());
    dropOldest(this.#notedAtMs);
    markApiKeyUsed(metadata, apiKeyId, { usedAt, fromAddress }).catch((error: unknown) => {
      log.debug({ err: error, apiKeyId }, 'use of an API key not noted');
    });
  }
}

function dropOldest(map: Map<unknown, unknown>): void {
  if (map.size <= KEYS_MAX) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}

const unknownKey = (): PlatformError =>
  new PlatformError('UNAUTHENTICATED', 'Cannot authenticate: the API key is missing, malformed, unknown or revoked');
