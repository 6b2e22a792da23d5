import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { Api, CreatedProject, TestProject } from '../support/api.ts';

/**
 * A session that inserts numbers, one commit each, and notes those that were acknowledged. It connects again after an
 * error; `losses` tells when it lost a session that it had.
 */
export class Writer {
  readonly name: string;
  readonly project: TestProject;
  readonly acknowledged: number[] = [];
  readonly losses: { readonly at: number; readonly error: string }[] = [];
  /** Errors of connects, which are retried: a killed gateway refuses for a moment. */
  readonly refusals: string[] = [];
  /** Local port of the open session. */
  port: number | undefined;
  readonly #work: Promise<void>;
  #next = 0;
  #stopping = false;

  constructor(name: string, project: TestProject) {
    this.name = name;
    this.project = project;
    this.#work = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#work;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const client = new Client({
        connectionString: this.project.uri,
        connectionTimeoutMillis: 30_000,
        query_timeout: 30_000,
      });
      client.on('error', () => {});
      try {
        await client.connect();
      } catch (error) {
        this.refusals.push(String(error));
        await client.end().catch(() => {});
        await delay(50);
        continue;
      }
      this.port = (client as unknown as { connection: { stream: { localPort?: number } } }).connection.stream.localPort;
      try {
        while (!this.#stopping) {
          const n = this.#next++;
          await client.query('INSERT INTO ledger (writer, n) VALUES ($1, $2)', [this.name, n]);
          this.acknowledged.push(n);
          await delay(5);
        }
      } catch (error) {
        this.losses.push({ at: Date.now(), error: String(error) });
      }
      this.port = undefined;
      await client.end().catch(() => {});
    }
  }
}

/** Work on the API that goes on whatever happens: failures of calls are expected while control is away. */
export class ApiLoad {
  /** What the platform has said yes to; none of it may be missing later. */
  readonly acknowledged = {
    createdProjects: new Set<string>(),
    deletedProjects: new Set<string>(),
    roles: new Set<string>(),
  };
  /** Projects whose DELETE got no answer: it may have been carried out before the kill that cut it off. */
  readonly deletesCutOff = new Set<string>();
  /** Calls that got an answer, by status. */
  readonly answers: Record<string, number> = {};
  readonly #api: Api;
  readonly #work: Promise<unknown>;
  #stopping = false;

  constructor(api: Api, roleProject: TestProject, napper: TestProject) {
    this.#api = api;
    this.#work = Promise.all([
      this.#loop(async (i) => await this.#createAndDelete(i)),
      this.#loop(async (i) => await this.#createRole(roleProject, i)),
      this.#loop(async () => await this.#suspendAndStart(napper)),
    ]);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#work;
  }

  async #loop(once: (i: number) => Promise<void>): Promise<void> {
    for (let i = 0; !this.#stopping; i++) {
      await once(i).catch((error: unknown) => this.#count(error instanceof Error ? error.name : 'error'));
      await delay(100);
    }
  }

  #count(key: string): void {
    this.answers[key] = (this.answers[key] ?? 0) + 1;
  }

  async #createAndDelete(i: number): Promise<void> {
    const created = await this.#api.request<CreatedProject>('POST', '/projects', { project: { name: `load-${i}` } });
    this.#count(`create ${created.status}`);
    if (created.status !== 201) return;
    const { id } = created.body.project;
    this.acknowledged.createdProjects.add(id);
    if (i % 2 === 0) return;
    this.deletesCutOff.add(id);
    const deleted = await this.#api.request('DELETE', `/projects/${id}`);
    this.deletesCutOff.delete(id);
    this.#count(`delete ${deleted.status}`);
    if (deleted.status === 200) this.acknowledged.deletedProjects.add(id);
  }

  async #createRole(project: TestProject, i: number): Promise<void> {
    const path = `/projects/${project.id}/branches/${project.branchId}/roles`;
    const name = `role_${i}`;
    const { status } = await this.#api.request('POST', path, { role: { name } });
    this.#count(`role ${status}`);
    if (status === 201) this.acknowledged.roles.add(name);
    await delay(300);
  }

  async #suspendAndStart(project: TestProject): Promise<void> {
    for (const action of ['suspend', 'start']) {
      const { status } = await this.#api.request(
        'POST',
        `/projects/${project.id}/endpoints/${project.endpointId}/${action}`,
      );
      this.#count(`${action} ${status}`);
      await delay(Math.random() * 100);
    }
  }
}
