/** How long the computes of a host may take to stop, all together, counted from the order. */
export interface StopBudget {
  /** Until then each stops with a checkpoint. */
  readonly hardenAfterMs: number;
  /** From `hardenAfterMs` to then all that still run are ended by SIGQUIT, afterwards by SIGKILL. */
  readonly killAfterMs: number;
  readonly giveUpAfterMs: number;
}

/**
 * Postgres gives its own children 5 s after SIGQUIT. The processes around the host wait longer than this
 * (`processes/end-budget.ts`), and all of it fits into the 90 s that systemd gives a service.
 */
export const STOP_BUDGET: StopBudget = { hardenAfterMs: 45_000, killAfterMs: 52_000, giveUpAfterMs: 57_000 };
