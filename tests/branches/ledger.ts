import { must } from '../support/must.ts';

/** One transaction whose COMMIT was sent. LSNs and clocks (microseconds) are the server's, the rest this process'. */
export interface Commit {
  readonly rows: number;
  readonly amount: bigint;
  /** `pg_current_wal_insert_lsn()` and `clock_timestamp()` right before COMMIT was sent. */
  readonly lsnBefore: bigint;
  readonly clockBefore: number;
  readonly sentAt: number;
  /** Absent: nobody knows whether it was committed. It is the last of its session then. */
  doneAt?: number;
  /** The same right after it had returned; absent if the session was lost then. */
  lsnAfter?: bigint;
  clockAfter?: number;
}

/** What one session wrote, in the order of its commits; it numbers its transactions from 0. */
export interface Session {
  readonly id: string;
  /** Its share of the rows that sessions update together. */
  readonly slot: number;
  /** The volume that it found itself on. */
  readonly volume: string;
  readonly commits: Commit[];
}

/** What limits the transactions that a branch may hold. */
export type Cut =
  | { readonly kind: 'lsn'; readonly lsn: bigint }
  /** Microseconds since the epoch. */
  | { readonly kind: 'time'; readonly us: number }
  /** The head at some moment of a call or query, by this process' clock. */
  | { readonly kind: 'call'; readonly began: number; readonly ended: number };

/** The contents of one volume: what its origin held at the cuts, and what was written since. */
export interface Line {
  /** Known once the line was looked at. */
  volume?: string;
  readonly origin?: { readonly line: Line; readonly cuts: readonly Cut[] };
}

/** What a database holds of one session. */
export interface SeenSession {
  readonly id: string;
  readonly commits: number;
  readonly rows: number;
  readonly amount: bigint;
  readonly highest: number;
  readonly sumCommits: number;
  readonly sumAmount: bigint;
}

/** All that the clients of a test have written, wherever. */
export class Ledger {
  readonly #sessions = new Map<string, Session>();

  open(slot: number, volume: string): Session {
    const session: Session = { id: `s${this.#sessions.size}`, slot, volume, commits: [] };
    this.#sessions.set(session.id, session);
    return session;
  }

  session(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  sessionsOn(volume: string | undefined): Session[] {
    return [...this.#sessions.values()].filter((s) => s.volume === volume);
  }

  /** Known commits on a line itself, oldest first. */
  commitsOn(line: Line): Required<Commit>[] {
    return this.sessionsOn(line.volume)
      .flatMap((s) => s.commits)
      .filter((c): c is Required<Commit> => c.clockAfter !== undefined)
      .sort((a, b) => a.doneAt - b.doneAt);
  }

  get commitCount(): number {
    return [...this.#sessions.values()].reduce((sum, s) => sum + s.commits.length, 0);
  }

  /**
   * Compares what a database holds with what a line must hold at the cuts. Gives what is wrong, in words; empty if
   * nothing is.
   */
  mistakes(line: Line, cuts: readonly Cut[], seen: readonly SeenSession[]): string[] {
    const found: string[] = [];
    const bySession = new Map(seen.map((s) => [s.id, s]));
    for (const { session, cuts: limits } of this.#expected(line, cuts)) {
      const present = bySession.get(session.id);
      bySession.delete(session.id);
      found.push(...mistakesOf(session, limits, present));
    }
    for (const id of bySession.keys()) {
      const stranger = this.session(id);
      found.push(`rows of ${id}, which wrote on ${stranger?.volume ?? 'nothing'} and not here`);
    }
    return found;
  }

  /** Every session that may have rows on a line, with all that limits them. */
  *#expected(line: Line, cuts: readonly Cut[]): Iterable<{ session: Session; cuts: readonly Cut[] }> {
    const limits = [...cuts];
    for (let at: Line | undefined = line; at; at = at.origin?.line) {
      for (const session of this.sessionsOn(must(at.volume, 'a volume that was looked at')))
        yield { session, cuts: [...limits] };
      limits.push(...(at.origin?.cuts ?? []));
    }
  }
}

/** Is it in, by one rule alone? A commit between the two clocks or LSNs may be either. */
function judge(commit: Commit, cut: Cut): 'in' | 'out' | 'either' {
  if (cut.kind === 'lsn') {
    if (commit.lsnBefore >= cut.lsn) return 'out';
    return commit.lsnAfter !== undefined && commit.lsnAfter <= cut.lsn ? 'in' : 'either';
  }
  if (cut.kind === 'time') {
    if (commit.clockBefore > cut.us) return 'out';
    return commit.clockAfter !== undefined && commit.clockAfter <= cut.us ? 'in' : 'either';
  }
  if (commit.sentAt > cut.ended) return 'out';
  return commit.doneAt !== undefined && commit.doneAt < cut.began ? 'in' : 'either';
}

function mistakesOf(session: Session, cuts: readonly Cut[], seen: SeenSession | undefined): string[] {
  let atLeast = 0;
  let atMost = session.commits.length;
  for (const [i, commit] of session.commits.entries()) {
    const verdicts = cuts.map((cut) => judge(commit, cut));
    if (verdicts.includes('out')) atMost = Math.min(atMost, i);
    else if (verdicts.every((verdict) => verdict === 'in')) atLeast = i + 1;
  }
  const count = seen?.commits ?? 0;
  const of = `session ${session.id} on ${session.volume}`;
  const found: string[] = [];
  if (count < atLeast) found.push(`${of}: ${count} commits, but ${atLeast} were before the moment`);
  if (count > atMost) found.push(`${of}: ${count} commits, but only ${atMost} were before the moment`);
  if (!seen) return found;
  if (seen.highest !== count - 1) found.push(`${of}: no prefix, ${count} commits but number ${seen.highest} is there`);
  const prefix = session.commits.slice(0, count);
  const rows = prefix.reduce((sum, c) => sum + c.rows, 0);
  const amount = prefix.reduce((sum, c) => sum + c.amount, 0n);
  if (rows !== seen.rows || amount !== seen.amount)
    found.push(`${of}: ${seen.rows} rows of ${seen.amount}, not ${rows} of ${amount}: a transaction in part`);
  if (seen.sumCommits !== count || seen.sumAmount !== amount)
    found.push(`${of}: its sum is ${seen.sumAmount} of ${seen.sumCommits}, not ${amount} of ${count}`);
  return found;
}
