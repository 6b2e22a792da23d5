import { clientPackages, ensureDebianPackages } from './debian.ts';

/** `node tests/support/install-clients.ts`: what `./test` runs first, so that a clean machine tests real clients too. */
const problem = await ensureDebianPackages(await clientPackages());
if (problem) console.error(`Tests of some clients will be skipped: ${problem}`);
