import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DirectoryEntry } from '../gateway/ports.ts';
import { createLog } from '../kernel/log.ts';
import { DirectoryClient } from './directory-client.ts';
import { DirectoryServer, type DirectorySource } from './directory-server.ts';
import type { DirectoryChange } from './messages.ts';

const log = createLog('test', 'silent');
const entryOf = (endpointId: string): DirectoryEntry => ({
  endpointId,
  branchId: 'br-a',
  projectId: 'p',
  hostId: 'local',
  disabled: false,
  roles: { app: `verifier of ${endpointId}` },
  allowedIps: [],
});

/** The metadata side of the stream: changes in commit order, kept in memory. */
class MemorySource implements DirectorySource {
  readonly #changes: DirectoryChange[] = [];
  #wake = Promise.withResolvers<void>();
  readonly epochName: string;

  constructor(epochName = 'epoch-1') {
    this.epochName = epochName;
  }

  put(endpointId: string, entry: DirectoryEntry | null = entryOf(endpointId)): number {
    const seq = this.#changes.length + 1;
    this.#changes.push({ seq, endpointId, entry });
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
    return seq;
  }

  epoch(): Promise<string> {
    return Promise.resolve(this.epochName);
  }

  find(endpointId: string): Promise<DirectoryEntry | null> {
    return Promise.resolve(endpointId === 'ep-only-asked' ? entryOf(endpointId) : null);
  }

  async *changes(sinceSeq: number, signal: AbortSignal): AsyncIterable<DirectoryChange> {
    for (let sent = sinceSeq; !signal.aborted;) {
      const change = this.#changes[sent];
      if (change) {
        sent += 1;
        yield change;
      } else {
        const aborted = new Promise<void>((resolve) =>
          signal.addEventListener('abort', () => resolve(), { once: true }),
        );
        await Promise.race([this.#wake.promise, aborted]);
      }
    }
  }
}

let directory: string;
const cleanups: (() => Promise<void>)[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tenantry-directory-'));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await rm(directory, { recursive: true });
});

async function serve(source: DirectorySource): Promise<DirectoryServer> {
  const server = new DirectoryServer({ source, gateways: 1, log });
  await server.listen(join(directory, 'control.sock'));
  cleanups.push(() => server.close().catch(() => undefined));
  return server;
}

async function connect(): Promise<DirectoryClient> {
  const client = await DirectoryClient.open({
    gateway: '0',
    controlSocket: join(directory, 'control.sock'),
    copyPath: join(directory, 'directory-0.ndjson'),
    counters: () => ({ sessions: 7 }),
    log,
  });
  cleanups.push(() => client.close());
  return client;
}

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Not within 15 s: ${what}`);
    await delay(10);
  }
}

test('a change reaches a gateway before the barrier opens', async () => {
  const source = new MemorySource();
  source.put('ep-a');
  const server = await serve(source);
  const client = await connect();
  await until('the gateway is connected', () => server.gateways().length === 1);
  await server.barrier(source.put('ep-b'));
  expect((await client.find('ep-a'))?.roles).toEqual({ app: 'verifier of ep-a' });
  expect((await client.find('ep-b'))?.endpointId).toBe('ep-b');
  await server.barrier(source.put('ep-a', null));
  expect(await client.find('ep-a')).toBeUndefined();
});

test('a gateway that starts while control is away answers from its copy', async () => {
  const source = new MemorySource();
  const server = await serve(source);
  const first = await connect();
  await until('the gateway is connected', () => server.gateways().length === 1);
  for (let index = 0; index < 50; index += 1) source.put(`ep-${index}`);
  await server.barrier(50);
  await server.close();
  await first.close();

  const second = await connect();
  expect((await second.find('ep-49'))?.endpointId).toBe('ep-49');
  expect(await second.find('ep-unknown')).toBeUndefined();
});

test('a gateway asks control for an endpoint that it does not know', async () => {
  const server = await serve(new MemorySource());
  const client = await connect();
  await until('the gateway is connected', () => server.gateways().length === 1);
  expect((await client.find('ep-only-asked'))?.endpointId).toBe('ep-only-asked');
  expect(await client.find('ep-nowhere')).toBeUndefined();
});

test('a look-up waits a moment for a control that is starting', async () => {
  const client = await connect();
  const found = client.find('ep-only-asked');
  await serve(new MemorySource());
  expect((await found)?.endpointId).toBe('ep-only-asked');
});

test('the barrier waits for a gateway that is on its way', async () => {
  const source = new MemorySource();
  const server = await serve(source);
  const passed = server.barrier(source.put('ep-a'));
  const client = await connect();
  await passed;
  await server.close();
  expect((await client.find('ep-a'))?.endpointId).toBe('ep-a');
});

test('a gateway comes back to a control that restarted, and forgets another metadata database', async () => {
  const source = new MemorySource();
  source.put('ep-a');
  const before = await serve(source);
  const client = await connect();
  await until('ep-a is known', async () => (await client.find('ep-a')) !== undefined);
  await before.close();

  const other = new MemorySource('epoch-2');
  other.put('ep-z');
  await serve(other);
  await until('ep-z is known', async () => (await client.find('ep-z')) !== undefined);
  expect(await client.find('ep-a')).toBeUndefined();
});

test('a torn copy keeps what came before the tear, and is made whole by control', async () => {
  const source = new MemorySource();
  source.put('ep-a');
  source.put('ep-b');
  const server = await serve(source);
  const first = await connect();
  await until('ep-b is known', async () => (await first.find('ep-b')) !== undefined);
  await first.close();
  await server.close();
  await appendFile(join(directory, 'directory-0.ndjson'), '{"seq":3,"endpointId":"ep-c","entr');

  const second = await connect();
  expect((await second.find('ep-b'))?.endpointId).toBe('ep-b');
  source.put('ep-c');
  await serve(source);
  await until('ep-c is known', async () => (await second.find('ep-c')) !== undefined);
  await second.close();
  const lines = (await readFile(join(directory, 'directory-0.ndjson'), 'utf8')).trim().split('\n');
  expect(() => lines.forEach((line) => void JSON.parse(line))).not.toThrow();
});

test('many changes of few endpoints do not let the copy grow without bound', async () => {
  const source = new MemorySource();
  const server = await serve(source);
  const client = await connect();
  await until('the gateway is connected', () => server.gateways().length === 1);
  let seq = 0;
  for (let index = 0; index < 5_000; index += 1) seq = source.put(`ep-${index % 3}`);
  await until('all is applied', async () => {
    await server.barrier(seq);
    return (await client.find('ep-2')) !== undefined;
  });
  await client.close();
  const lines = (await readFile(join(directory, 'directory-0.ndjson'), 'utf8')).split('\n');
  expect(lines.length).toBeLessThan(2_500);
});
