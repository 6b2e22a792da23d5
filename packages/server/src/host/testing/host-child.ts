import { startHostServer } from '../host-server.ts';
import { makeHost, makeTestBed } from './test-host.ts';

/** A host process of its own, for tests that kill it: `node host-child.ts <directory> <socket path>`. */
const [, , directory = '', socketPath = ''] = process.argv;
const bed = makeTestBed({}, directory);
const host = await makeHost(bed);
await startHostServer({ host, socketPath, log: bed.options.log });
process.send?.('ready');
