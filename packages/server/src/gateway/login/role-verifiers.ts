import type { Log } from '../../kernel/log.ts';
import { parseVerifier, type ScramVerifier } from '../../kernel/scram-verifier.ts';
import { withDeadline } from '../../kernel/wait.ts';
import { mockVerifier } from '../../pgwire/mock-verifier.ts';
import { RecentMap } from '../limits/recent-map.ts';
import type { ComputeBroker, DirectoryEntry } from '../ports.ts';

/** Asking a running compute for a role must not hold a login up. */
const FIND_ROLE_TIMEOUT_MS = 2_000;

interface RoleVerifiersOptions {
  readonly broker: ComputeBroker;
  readonly mockAuthKey: Buffer;
  readonly log: Log;
}

/**
 * The SCRAM verifiers that clients are checked against: the directory's, or for a role made by SQL moments ago the
 * running compute's, or a mock. None of it wakes anything.
 */
export class RoleVerifiers {
  readonly #options: RoleVerifiersOptions;
  /** Passwords changed by SQL: what the compute has in place of what the directory still had. */
  readonly #newer = new RecentMap<{ readonly stored: string; readonly newer: string }>();
  /** Look-ups under way: who asks the same meanwhile waits for the same answer. */
  readonly #asked = new Map<string, Promise<string | undefined>>();

  constructor(options: RoleVerifiersOptions) {
    this.#options = options;
  }

  async find(entry: DirectoryEntry, role: string): Promise<ScramVerifier> {
    const { endpointId } = entry;
    const stored = storedVerifier(entry, role);
    const newer = this.#newer.get(keyOf(endpointId, role));
    const text =
      stored === undefined ? await this.#askCompute(endpointId, role) : newer?.stored === stored ? newer.newer : stored;
    return (
      (text === undefined ? undefined : parseVerifier(text)) ??
      mockVerifier(this.#options.mockAuthKey, endpointId, role)
    );
  }

  /**
   * After a wrong password: the compute may know a newer one, for the next try. `outdated` if it knows another than
   * `used`, the one that the client was checked against.
   */
  async refresh(entry: DirectoryEntry, role: string, used: ScramVerifier): Promise<'outdated' | 'current'> {
    const stored = storedVerifier(entry, role);
    if (stored === undefined) return 'current';
    const newer = await this.#askCompute(entry.endpointId, role);
    if (newer === undefined) return 'current';
    this.#newer.put(keyOf(entry.endpointId, role), { stored, newer });
    return parseVerifier(newer)?.storedKey.equals(used.storedKey) === false ? 'outdated' : 'current';
  }

  async #askCompute(endpointId: string, role: string): Promise<string | undefined> {
    const key = keyOf(endpointId, role);
    const underWay = this.#asked.get(key);
    if (underWay) return await underWay;
    const asked = this.#ask(endpointId, role);
    this.#asked.set(key, asked);
    try {
      return await asked;
    } finally {
      this.#asked.delete(key);
    }
  }

  /** Never rejects. */
  async #ask(endpointId: string, role: string): Promise<string | undefined> {
    const { broker, log } = this.#options;
    const find = (signal: AbortSignal) => broker.findRoleVerifier(endpointId, role, signal);
    try {
      return await withDeadline('find the role', FIND_ROLE_TIMEOUT_MS, find);
    } catch (error) {
      log.warn({ err: error, endpointId }, 'cannot ask the compute for a role');
      return undefined;
    }
  }
}

const keyOf = (endpointId: string, role: string): string => `${endpointId} ${role}`;

const storedVerifier = (entry: DirectoryEntry, role: string): string | undefined =>
  Object.hasOwn(entry.roles, role) ? entry.roles[role] : undefined;
