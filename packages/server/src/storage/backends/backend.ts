import type { FileOwner, StorageBackendInfo } from '../volume-store.ts';

/**
 * One way to clone a directory tree. A *tree* is a directory with `data/` (a Postgres data directory, without its WAL)
 * and small files beside it. All paths given lie below `root`.
 */
export interface StorageBackend {
  readonly info: StorageBackendInfo;
  /** Templates and volumes live below this directory, on one filesystem. */
  readonly root: string;
  /** Makes an empty tree that can be cloned. */
  createTree(path: string): Promise<void>;
  /** Readies a finished template for being cloned many times. */
  sealTree(path: string): Promise<void>;
  /** Clones a tree that nobody writes to, and gives the clone's data directory to `owner`. */
  cloneTree(source: string, target: string, owner: FileOwner | null): Promise<void>;
  /**
   * The same of a tree that Postgres writes to. One moment where `atomicLiveSnapshot` says so; elsewhere every file is
   * of some moment between begin and end, and what Postgres removed meanwhile may be left out.
   */
  cloneRunningTree(source: string, target: string, owner: FileOwner | null): Promise<void>;
  /** Removes a tree, or a directory that holds trees. Idempotent. */
  removeTree(path: string): Promise<void>;
  /** Waits until removed trees count no more, where their space is given back in the background. */
  settleRemovals(): Promise<void>;
  /** Makes a tree durable, as far as the sync of its parent directory will not do it by itself. */
  settleTree(path: string): Promise<void>;
  /** Grows `root` if it is running out of room and its disk has some to give. Cheap where it is not. */
  makeRoom(): Promise<void>;
  /** May walk all files of the tree. */
  measureTree(path: string): Promise<TreeUsage>;
}

/** Bytes on disk. */
export interface TreeUsage {
  /** What only this tree owns. */
  readonly exclusiveBytes: number;
  /** What it has in common with others; null where that cannot be told, and `exclusiveBytes` is an upper bound. */
  readonly sharedBytes: number | null;
}

export interface BackendOptions {
  readonly root: string;
  readonly location: string;
  readonly advice: string | null;
  /** Left out: the backend lives directly on the host's filesystem. */
  readonly makeRoom?: () => Promise<void>;
}

/** How to remove a directory into which the child of a killed Tenantry may still be writing its last. */
export const REMOVE = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 } as const;

export const dataPathOf = (tree: string): string => `${tree}/data`;
