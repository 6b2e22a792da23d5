/** As Neon's largest plan has them. */
export const BRANCHES_MAX = 5_000;
/** Without a parent; those with the schema only count. */
export const ROOT_BRANCHES_MAX = 25;
export const PROTECTED_BRANCHES_MAX = 5;
export const ANNOTATIONS_MAX = 50;
/** Beside the one that is read-write. */
export const READ_ONLY_ENDPOINTS_MAX = 20;

/** The furthest that an expiration may be set. */
export const TTL_MAX_SECONDS = 30 * 24 * 3600;
/** How long a deleted branch can be recovered. */
export const RECOVERY_SECONDS = 7 * 24 * 3600;
