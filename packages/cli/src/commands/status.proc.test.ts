import { execFile } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const MAIN = join(import.meta.dirname, '../main.ts');
const PROCESSES = { supervisor: process.pid, control: null, host: 11, gateways: [12, 13], metadata: null };
const LATE = 'Cannot ask the host: not done within 2000 ms';
const AWAY = 'Cannot reach the metadata database: retry in a moment';

let dataDir = '';
let server: Server;
let port = 0;

/** `tenantry`, which prints no stack and exits with `status`. */
async function tenantry(command: string): Promise<{ status: number; out: string; words: string }> {
  const { promise, resolve } = Promise.withResolvers<{ status: number; out: string; words: string }>();
  execFile(process.execPath, [MAIN, command, '--data-dir', dataDir], (error, out, words) =>
    resolve({ status: error ? Number(error.code) : 0, out, words }),
  );
  return await promise;
}

async function answerWith(body: string): Promise<void> {
  server = createServer((_request, response) => response.end(body));
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(port, '127.0.0.1', resolve);
  await promise;
  port = (server.address() as AddressInfo).port;
}

beforeEach(async () => {
  dataDir = mkdtempSync('/tmp/tenantry-cli-status-');
  await answerWith('');
  mkdirSync(join(dataDir, 'secrets'));
  writeFileSync(join(dataDir, 'secrets/admin-key'), 'key');
  writeFileSync(join(dataDir, 'processes.json'), JSON.stringify({ ...PROCESSES, apiPort: port }));
  server.close();
});

afterEach(() => {
  server.close();
  rmSync(dataDir, { recursive: true, force: true });
});

test('an API that does not answer is named, with why, what to do, and what runs', async () => {
  for (const command of ['status', 'doctor', 'restart']) {
    const { status, out, words } = await tenantry(command);
    expect(status).toBe(1);
    expect(words).toMatch(
      new RegExp(`^The API does not answer on http://127.0.0.1:${port}: connect ECONNREFUSED .* is tried again; .*`),
    );
    expect(words.trim().endsWith(`see ${dataDir}/logs/tenantry.log`)).toBe(true);
    if (command === 'status') expect(out).toMatch(/supervisor \d+, control null, host 11, gateways 12 13/);
  }
});

test('another program on the port of the API is not taken for it', async () => {
  await answerWith('<html>');
  expect((await tenantry('doctor')).words).toBe(
    `Cannot read the answer of http://127.0.0.1:${port} (status 200): is that Tenantry?\n`,
  );
});

test('parts that are down are shown with what to do, and the rest with them', async () => {
  await answerWith(
    JSON.stringify({
      version: '1.2.3',
      processes: PROCESSES,
      parts: { control: 'ok', metadata: AWAY, host: LATE, gateways: 'ok' },
      counts: null,
      awake: null,
      host: null,
      problems: { counts: AWAY, awake: AWAY, host: LATE },
    }),
  );
  const log = `see ${dataDir}/logs/tenantry.log`;
  const status = await tenantry('status');
  expect([status.status, status.words]).toEqual([0, '']);
  for (const line of [
    'parts       control ok, metadata NOT OK, host NOT OK, gateways ok',
    `host: ${LATE}\n      ${log}; if it stays so: kill -9 11, it is started again and running computes go on`,
    `projects    not known: ${AWAY}`,
    `awake       not known: ${LATE}`,
  ]) {
    expect(status.out).toContain(line);
  }
  const doctor = await tenantry('doctor');
  expect(doctor.status).toBe(0);
  expect(doctor.out).toContain(
    `ok    control: ok\nweak  metadata: ${AWAY}\n      known endpoints are served meanwhile`,
  );
  expect(doctor.out).toContain(`weak  host: ${LATE}\n      ${log}; if it stays so: kill -9 11`);
  expect(doctor.out).toContain(`weak  engines, storage, isolation: not known. ${LATE}`);
});
