export interface AdmissionLimits {
  /** Clients in login at once, of one address and in all. */
  readonly activePerAddress: number;
  readonly active: number;
  /** Accepted sockets that wait for a place, unread. */
  readonly heldPerAddress: number;
  readonly held: number;
}

interface Ticket {
  readonly address: string;
  readonly start: () => void;
  state: 'held' | 'active' | 'left';
}

interface AddressState {
  active: number;
  readonly held: Set<Ticket>;
}

/**
 * Bounds the clients that are not authenticated yet. A burst is held back, not refused: a thousand clients of one
 * address all get in, a few hundred at a time, while a flood costs no more than file descriptors.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #addresses = new Map<string, AddressState>();
  #active = 0;
  #held = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /**
   * Calls `start` at once or when a place is free. The function returned gives the place (or the wait for it) up; it
   * may be called more than once. Undefined: too many wait, refuse the client.
   */
  enter(address: string, start: () => void): (() => void) | undefined {
    const state = this.#addresses.get(address) ?? { active: 0, held: new Set<Ticket>() };
    const ticket: Ticket = { address, start, state: 'held' };
    if (this.#hasPlace(state)) {
      this.#addresses.set(address, state);
      this.#activate(state, ticket);
    } else {
      if (this.#held >= this.#limits.held || state.held.size >= this.#limits.heldPerAddress) return undefined;
      this.#addresses.set(address, state);
      state.held.add(ticket);
      this.#held++;
    }
    return () => this.#leave(state, ticket);
  }

  #hasPlace(state: AddressState): boolean {
    return state.active < this.#limits.activePerAddress && this.#active < this.#limits.active;
  }

  #activate(state: AddressState, ticket: Ticket): void {
    ticket.state = 'active';
    state.active++;
    this.#active++;
    ticket.start();
  }

  #leave(state: AddressState, ticket: Ticket): void {
    const was = ticket.state;
    ticket.state = 'left';
    if (was === 'held') {
      state.held.delete(ticket);
      this.#held--;
    } else if (was === 'active') {
      state.active--;
      this.#active--;
      this.#startNext(state);
    }
    if (state.active === 0 && state.held.size === 0) this.#addresses.delete(ticket.address);
  }

  /** The place goes to the same address first; only where the cap over all was what held others, to one of them. */
  #startNext(state: AddressState): void {
    for (const candidate of this.#held > 0 ? [state, ...this.#addresses.values()] : []) {
      const [next] = candidate.held;
      if (next && this.#hasPlace(candidate)) {
        candidate.held.delete(next);
        this.#held--;
        this.#activate(candidate, next);
        return;
      }
    }
  }
}
