import { createServer, type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { withDeadline } from '../kernel/wait.ts';
import { HostClient } from './host-client.ts';

const CALLS = 20;

let directory = '';
let server: Server | undefined;
let client: HostClient;

/** A host that takes calls and never ends an answer; `begins` one: sends the head of it. */
async function startStuckHost({ begins }: { readonly begins: boolean }): Promise<{ open: () => number }> {
  let open = 0;
  server = createServer((_request, response) => {
    if (begins) response.writeHead(200, { 'content-length': 100 }).write('{');
  });
  server.on('connection', (socket) => {
    open++;
    socket.on('close', () => open--);
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(join(directory, 'host.sock'), resolve);
  await promise;
  return { open: () => open };
}

beforeEach(() => {
  directory = mkdtempSync('/tmp/tn-client-');
  client = new HostClient({ socketPath: join(directory, 'host.sock') });
});

afterEach(() => {
  client.close();
  server?.closeAllConnections();
  server?.close();
  rmSync(directory, { recursive: true, force: true });
});

test.each([
  ['takes calls and does not answer', { begins: false }],
  ['stops in the middle of an answer', { begins: true }],
])('a host that %s holds no connection of callers that gave up', async (_what, how) => {
  const { open } = await startStuckHost(how);
  const calls = Array.from({ length: CALLS }, async (_, index) =>
    withDeadline<unknown>('ask', 500, (signal) =>
      index % 2 === 0 ? client.info(signal) : client.findRoleVerifier('ep-a', 'stranger', signal),
    ),
  );
  const ended = Promise.allSettled(calls);
  await vi.waitFor(() => expect(open()).toBe(CALLS));
  for (const { status } of await ended) expect(status).toBe('rejected');
  await vi.waitFor(() => expect(open()).toBe(0));
});
