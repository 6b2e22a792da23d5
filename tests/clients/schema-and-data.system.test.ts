import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { psql } from '../support/psql.ts';
import { runOk } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { skipWithout } from '../support/tools.ts';

/** Real schemas and data, loaded through the gateway, found intact after sleep. */

let platform: RunningPlatform;
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

describe('schema and data', () => {
  it('pgbench scale 10 survives a suspend', async (context) => {
    skipWithout('pgbench', context);
    const project = await platform.api.createProject({ name: 'pgbench' });
    await runOk('pgbench', ['-i', '-s', '10', '-q', project.uri], { timeoutMs: 120_000 });
    for (const mode of ['simple', 'prepared']) {
      const report = await runOk('pgbench', ['-c', '4', '-j', '2', '-T', '5', '-M', mode, '-n', project.uri]);
      console.log(
        report
          .split('\n')
          .filter((line) => /tps|latency average|failed/.test(line))
          .join('; '),
      );
      expect(report).toMatch(/number of failed transactions: 0 /);
    }
    const fingerprint = `SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT sum(abalance) FROM pgbench_accounts),
      (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers),
      (SELECT count(*) FROM pgbench_history), (SELECT sum(delta) FROM pgbench_history),
      (SELECT md5(string_agg(a::text, ',' ORDER BY aid)) FROM pgbench_accounts a)`;
    const before = await psql(project.uri, fingerprint);
    const [accounts, balance, branches, tellers, , deltas] = before.split('|');
    expect(accounts).toBe('1000000');
    expect([branches, tellers, deltas]).toEqual([balance, balance, balance]);
    await platform.api.suspend(project);
    expect(await psql(project.uri, fingerprint)).toBe(before);
    await platform.api.deleteProject(project.id);
  });

  it('contrib extensions survive a suspend', async () => {
    const project = await platform.api.createProject({ name: 'contrib' });
    await psql(project.uri, EXTENSIONS.map((name) => `CREATE EXTENSION "${name}";`).join('\n') + CONTRIB_SCHEMA);
    const before = await psql(project.uri, CONTRIB_FINGERPRINT);
    await platform.api.suspend(project);
    expect(await psql(project.uri, CONTRIB_FINGERPRINT)).toBe(before);
    const installed = await psql(project.uri, `SELECT extname FROM pg_extension ORDER BY 1`);
    expect(installed.split('\n')).toEqual([...EXTENSIONS, 'plpgsql'].sort());
    await platform.api.deleteProject(project.id);
  });

  it('objects of every kind survive a suspend', async () => {
    const project = await platform.api.createProject({ name: 'kinds' });
    await psql(project.uri, KINDS_SCHEMA);
    const before = await psql(project.uri, KINDS_FINGERPRINT);
    expect(before).toContain('42');
    await platform.api.suspend(project);
    expect(await psql(project.uri, KINDS_FINGERPRINT)).toBe(before);
    await platform.api.deleteProject(project.id);
  });
});

const EXTENSIONS = [
  'btree_gin',
  'btree_gist',
  'citext',
  'cube',
  'dblink',
  'earthdistance',
  'fuzzystrmatch',
  'hstore',
  'intarray',
  'isn',
  'lo',
  'ltree',
  'pg_stat_statements',
  'pg_trgm',
  'pgcrypto',
  'postgres_fdw',
  'seg',
  'tablefunc',
  'unaccent',
  'uuid-ossp',
];

const CONTRIB_SCHEMA = `
  CREATE TABLE things (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(), n int, name citext UNIQUE, attributes hstore, path ltree,
    during tsrange, secret bytea, EXCLUDE USING gist (n WITH =, during WITH &&));
  CREATE INDEX ON things USING gin (attributes);
  CREATE INDEX ON things USING gin ((name::text) gin_trgm_ops);
  CREATE INDEX ON things USING gist (path);
  INSERT INTO things (n, name, attributes, path, during, secret)
    SELECT i, 'Thing ' || i, hstore('size', i::text), ('top.branch' || i % 7 || '.leaf' || i)::ltree,
      tsrange(timestamp '2026-01-01' + i * interval '1 hour', timestamp '2026-01-01' + (i + 1) * interval '1 hour'),
      digest(i::text, 'sha256')
    FROM generate_series(1, 5000) i;
  CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'db.example.com', dbname 'x');
  CREATE FOREIGN TABLE far (id int) SERVER elsewhere;
  CREATE MATERIALIZED VIEW by_branch AS SELECT subpath(path, 0, 2) AS branch, count(*) FROM things GROUP BY 1;`;

const CONTRIB_FINGERPRINT = `
  SELECT count(*), md5(string_agg(t::text, ',' ORDER BY n)) FROM things t;
  SELECT n FROM things WHERE name = 'THING 42';
  SELECT count(*) FROM things WHERE path <@ 'top.branch3';
  SELECT count(*) FROM things WHERE name::text % 'Thing 123';
  SELECT md5(string_agg(b::text, ',' ORDER BY branch)) FROM by_branch b;
  SELECT srvname, srvoptions FROM pg_foreign_server;`;

const KINDS_SCHEMA = `
  CREATE SCHEMA app;
  CREATE TYPE app.mood AS ENUM ('sad', 'glad');
  CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
  CREATE SEQUENCE app.numbers START 42;
  CREATE TABLE app.events (id int DEFAULT nextval('app.numbers'), at date, mood app.mood, amount app.positive, note text,
    search tsvector GENERATED ALWAYS AS (to_tsvector('english', coalesce(note, ''))) STORED) PARTITION BY RANGE (at);
  CREATE TABLE app.events_2026 PARTITION OF app.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
  CREATE TABLE app.events_rest PARTITION OF app.events DEFAULT;
  CREATE INDEX ON app.events USING gin (search);
  CREATE TABLE app.log (line text);
  CREATE FUNCTION app.note_event() RETURNS trigger LANGUAGE plpgsql AS $f$
    BEGIN INSERT INTO app.log VALUES (format('event %s', NEW.id)); RETURN NEW; END $f$;
  CREATE TRIGGER note AFTER INSERT ON app.events FOR EACH ROW EXECUTE FUNCTION app.note_event();
  CREATE VIEW app.glad AS SELECT * FROM app.events WHERE mood = 'glad';
  ALTER TABLE app.log ENABLE ROW LEVEL SECURITY;
  CREATE POLICY all_lines ON app.log USING (true);
  CREATE COLLATION app.c (provider = libc, locale = 'C');
  CREATE PUBLICATION pub FOR TABLE app.events;
  INSERT INTO app.events (at, mood, amount, note)
    SELECT date '2025-12-01' + i, (ARRAY['sad', 'glad'])[1 + i % 2]::app.mood, i, 'the quick fox ' || i FROM generate_series(1, 200) i;
  SELECT lo_from_bytea(4242, '\\xdeadbeef');
  ALTER DATABASE neondb SET search_path = app, public;
  CREATE ROLE reader LOGIN PASSWORD 'a password of mine';
  GRANT USAGE ON SCHEMA app TO reader;
  GRANT SELECT ON ALL TABLES IN SCHEMA app TO reader;
  COMMENT ON TABLE app.events IS 'what happened';`;

const KINDS_FINGERPRINT = `
  SELECT min(id), count(*), md5(string_agg(e::text, ',' ORDER BY id)) FROM app.events e;
  SELECT count(*) FROM app.glad;
  SELECT count(*) FROM app.log;
  SELECT count(*) FROM app.events WHERE search @@ to_tsquery('fox');
  SELECT encode(lo_get(4242), 'hex'), current_setting('search_path'), obj_description('app.events'::regclass);
  SELECT has_table_privilege('reader', 'app.events', 'SELECT'), (SELECT count(*) FROM pg_publication);`;
