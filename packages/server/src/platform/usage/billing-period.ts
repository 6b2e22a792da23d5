export interface Period {
  readonly start: Date;
  readonly end: Date;
}

/** The calendar month, UTC, that holds `now`. */
export const billingPeriodOf = (now: Date): Period => ({
  start: new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1)),
  end: new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1)),
});
