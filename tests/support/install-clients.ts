import { clientPackages, ensureDebianPackages } from './debian.ts';

/** What storage beyond plain copies needs; the platform itself does without. */
const STORAGE_TOOLS = ['btrfs-progs', 'xfsprogs'];

/** `.ci/run` calls this first, so that a clean machine tests real clients and every storage backend. */
const problem = await ensureDebianPackages([...STORAGE_TOOLS, ...(await clientPackages())]);
if (problem) console.error(`Tests of some clients will be skipped: ${problem}`);
