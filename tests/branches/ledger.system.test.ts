import { describe, expect, it } from 'vitest';
import { Ledger, type Cut, type Line, type SeenSession } from './ledger.ts';

/** Ten commits of one row each: number n sent at LSN and clock 100 n, back at 100 n + 50. */
function tenCommits(): { ledger: Ledger; line: Line; id: string } {
  const ledger = new Ledger();
  const session = ledger.open(0, 'v1');
  for (let n = 0; n < 10; n++) {
    const at = n * 100;
    session.commits.push({
      rows: 1,
      amount: BigInt(n + 1),
      lsnBefore: BigInt(at),
      clockBefore: at * 1000,
      sentAt: at,
      doneAt: at + 50,
      lsnAfter: BigInt(at + 50),
      clockAfter: (at + 50) * 1000,
    });
  }
  return { ledger, line: { volume: 'v1' }, id: session.id };
}

const first = (count: number, id: string): SeenSession => {
  const amount = BigInt((count * (count + 1)) / 2);
  return { id, commits: count, rows: count, amount, highest: count - 1, sumCommits: count, sumAmount: amount };
};

const CUTS: readonly Cut[] = [
  { kind: 'lsn', lsn: 350n },
  { kind: 'time', us: 350_000 },
  { kind: 'call', began: 351, ended: 352 },
];

describe('the ledger that judges branches', () => {
  it.each(CUTS)('takes what was committed before $kind, and nothing else', (cut) => {
    const { ledger, line, id } = tenCommits();
    expect(ledger.mistakes(line, [cut], [first(4, id)])).toEqual([]);
    expect(ledger.mistakes(line, [cut], [first(3, id)])).toEqual([expect.stringContaining('3 commits, but 4')]);
    expect(ledger.mistakes(line, [cut], [first(5, id)])).toEqual([expect.stringContaining('5 commits, but only 4')]);
    expect(ledger.mistakes(line, [cut], [])).toEqual([expect.stringContaining('0 commits, but 4')]);
  });

  it('leaves open what was being committed at the moment', () => {
    const { ledger, line, id } = tenCommits();
    const cut: Cut = { kind: 'lsn', lsn: 330n };
    expect(ledger.mistakes(line, [cut], [first(3, id)])).toEqual([]);
    expect(ledger.mistakes(line, [cut], [first(4, id)])).toEqual([]);
    expect(ledger.mistakes(line, [cut], [first(5, id)])).not.toEqual([]);
  });

  it('sees a gap, a transaction in part, a wrong sum, and rows of strangers', () => {
    const { ledger, line, id } = tenCommits();
    const cut: Cut = { kind: 'lsn', lsn: 350n };
    const four = first(4, id);
    const wrong: readonly Partial<SeenSession>[] = [
      { highest: 4 },
      { rows: 3 },
      { amount: 9n },
      { sumAmount: 9n },
      { sumCommits: 3 },
    ];
    for (const part of wrong) expect(ledger.mistakes(line, [cut], [{ ...four, ...part }])).not.toEqual([]);
    const stranger = ledger.open(1, 'v2');
    expect(ledger.mistakes(line, [cut], [four, first(1, stranger.id)])).toEqual([
      expect.stringContaining('wrote on v2'),
    ]);
  });

  it('limits a child of a child by every origin', () => {
    const { ledger, line, id } = tenCommits();
    const child: Line = { volume: 'v2', origin: { line, cuts: [{ kind: 'lsn', lsn: 650n }] } };
    const grandchild: Line = { volume: 'v3', origin: { line: child, cuts: [{ kind: 'time', us: 250_000 }] } };
    expect(ledger.mistakes(child, [], [first(7, id)])).toEqual([]);
    expect(ledger.mistakes(grandchild, [], [first(3, id)])).toEqual([]);
    expect(ledger.mistakes(grandchild, [], [first(7, id)])).not.toEqual([]);
  });

  it('lets a commit without an answer be there or not', () => {
    const { ledger, line, id } = tenCommits();
    ledger.session(id)?.commits.push({
      rows: 1,
      amount: 11n,
      lsnBefore: 1000n,
      clockBefore: 1_000_000,
      sentAt: 1000,
    });
    const now: Cut = { kind: 'call', began: 2000, ended: 2001 };
    expect(ledger.mistakes(line, [now], [first(10, id)])).toEqual([]);
    expect(ledger.mistakes(line, [now], [first(11, id)])).toEqual([]);
    expect(ledger.mistakes(line, [now], [first(9, id)])).not.toEqual([]);
  });
});
