import type { CatalogChange } from '../../host/host.ts';

type WithoutSeq<T> = T extends unknown ? Omit<T, 'seq'> : never;

/** A change before it has its number. */
export type UnnumberedChange = WithoutSeq<CatalogChange>;

/** What puts the rows back as they were, if Postgres refuses a change. */
export type CatalogUndo =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'remove_role'; readonly name: string }
  | { readonly kind: 'keep_role'; readonly name: string }
  | { readonly kind: 'remove_database'; readonly id: string }
  | { readonly kind: 'keep_database'; readonly id: string }
  | { readonly kind: 'restore_database'; readonly id: string; readonly name: string; readonly ownerName: string };
