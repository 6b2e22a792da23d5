import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readProcessesFile } from './previous-run.ts';

async function pathWith(text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tenantry-previous-run-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, 'processes.json');
  await writeFile(path, text);
  return path;
}

test.each(['{"garbage', 'null', '[]', '{}', '{"gateways":7,"startTimes":{}}'])(
  'a damaged processes file (%s) is told by name, with what to do',
  async (text) => {
    const path = await pathWith(text);
    await expect(readProcessesFile(path)).rejects.toMatchObject({
      code: 'CONFLICT',
      message: `Cannot read ${path}: it is damaged. Delete it if no Tenantry process runs on this data directory`,
    });
  },
);

test('a whole processes file is read, and none is none', async () => {
  const file = { supervisor: 1, control: 2, host: null, gateways: [3], metadata: null, startTimes: { '1': '7' } };
  expect(await readProcessesFile(await pathWith(JSON.stringify(file)))).toEqual(file);
  expect(await readProcessesFile('/nonexistent/processes.json')).toBeUndefined();
});
