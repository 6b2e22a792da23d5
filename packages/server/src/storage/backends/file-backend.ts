import { mkdir, rm } from 'node:fs/promises';
import { syncTree } from '../../engines/sync-tree.ts';
import { allocatedBytes } from '../disk-space.ts';
import type { StorageBackendInfo } from '../volume-store.ts';
import { type BackendOptions, REMOVE, type StorageBackend } from './backend.ts';
import { copyTree } from './copy-tree.ts';

interface FileBackendOptions extends BackendOptions {
  readonly name: 'reflink' | 'copy';
}

/** Clones file by file: `reflink` shares their blocks (XFS, btrfs, bcachefs, APFS, ZFS), `copy` works everywhere. */
export function createFileBackend({ name, root, location, advice, makeRoom }: FileBackendOptions): StorageBackend {
  const isReflink = name === 'reflink';
  const info: StorageBackendInfo = {
    name,
    location,
    capabilities: {
      atomicLiveSnapshot: false,
      cowClone: isReflink,
      crossHostClone: false,
      maxCloneDepth: null,
      childrenPinParent: false,
    },
    advice,
  };
  const clone = (isRunning: boolean): StorageBackend['cloneTree'] =>
    async function cloneFiles(source, target, owner) {
      await mkdir(target, { mode: 0o711 });
      await copyTree(`${source}/data`, `${target}/data`, { owner, isReflink, isRunning });
    };
  return {
    info,
    root,
    async createTree(path) {
      await mkdir(path, { mode: 0o711 });
    },
    // Clones are files of their own, made with their owner and modes: nothing to prepare.
    async sealTree() {},
    cloneTree: clone(false),
    cloneRunningTree: clone(true),
    async removeTree(path) {
      await rm(path, REMOVE);
    },
    async settleRemovals() {},
    settleTree: syncTree,
    makeRoom: makeRoom ?? (async () => {}),
    // No cheap way to tell shared blocks of a reflink apart.
    async measureTree(path) {
      return { exclusiveBytes: await allocatedBytes(path), sharedBytes: isReflink ? null : 0 };
    },
  };
}
