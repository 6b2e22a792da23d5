import { expect, test } from 'vitest';
import { Secret } from '../../kernel/secret.ts';
import { toConnectionInfo } from './connection-uri.ts';

const target = {
  endpointId: 'ep-cool-sun-12345678',
  role: 'alice',
  database: 'shop',
  password: new Secret('npg_x'),
  isPooled: false,
} as const;

test('on localhost the endpoint is an option and no sslmode is asked for', () => {
  const local = { domain: 'localhost', pgPort: 5432 };
  expect(toConnectionInfo(local, target)).toMatchObject({
    connectionUri: 'postgresql://alice:npg_x@localhost:5432/shop?options=endpoint%3Dep-cool-sun-12345678',
    host: 'localhost',
    poolerHost: 'localhost',
  });
  expect(toConnectionInfo(local, { ...target, isPooled: true }).connectionUri).toBe(
    'postgresql://alice:npg_x@localhost:5432/shop?options=endpoint%3Dep-cool-sun-12345678-pooler',
  );
});

test('under a domain the endpoint is the host name and TLS is asked for', () => {
  const info = toConnectionInfo({ domain: 'db.example.com', pgPort: 5432 }, target);
  expect(info).toMatchObject({
    connectionUri:
      'postgresql://alice:npg_x@ep-cool-sun-12345678.db.example.com/shop?sslmode=require&channel_binding=require',
    host: 'ep-cool-sun-12345678.db.example.com',
    poolerHost: 'ep-cool-sun-12345678-pooler.db.example.com',
  });
  const other = toConnectionInfo({ domain: 'db.example.com', pgPort: 6543 }, { ...target, isPooled: true });
  expect(other.connectionUri).toContain('@ep-cool-sun-12345678-pooler.db.example.com:6543/shop?');
});

test('every name comes back out of the URI as it went in', () => {
  const role = "a:b@c/d?e#f%g&h=i+j k'l(m)*!ü";
  const database = 'x/y?z=1&options=évil#';
  const { connectionUri } = toConnectionInfo({ domain: 'localhost', pgPort: 1 }, { ...target, role, database });
  const url = new URL(connectionUri);
  expect(decodeURIComponent(url.username)).toBe(role);
  expect(decodeURIComponent(url.pathname.slice(1))).toBe(database);
  expect([...url.searchParams]).toEqual([['options', 'endpoint=ep-cool-sun-12345678']]);
});
