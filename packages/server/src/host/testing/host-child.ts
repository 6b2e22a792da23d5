import { startHostServer } from '../host-server.ts';
import { makeHost, makeStoredBed, makeTestBed } from './test-host.ts';

/** A host process of its own, for tests that kill it: `node host-child.ts <directory> <socket path> [storage setting]`. */
const [, , directory = '', socketPath = '', setting] = process.argv;
const bed =
  setting === 'auto' || setting === 'copy' ? await makeStoredBed(setting, directory) : makeTestBed({}, directory);
const host = await makeHost(bed);
await startHostServer({ host, socketPath, log: bed.options.log });
process.send?.('ready');
