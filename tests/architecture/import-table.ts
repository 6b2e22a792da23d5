/**
 * The architecture as data: which folder of packages/server/src may import which. `contract` may be imported by all.
 * `types` are folders from which only types may be imported (`import type`): ports, not calls.
 */
export interface FolderRule {
  readonly imports: readonly string[];
  readonly types?: readonly string[];
}

export const SERVER_FOLDERS: Readonly<Record<string, FolderRule>> = {
  kernel: { imports: [] },
  pgwire: { imports: ['kernel'] },
  config: { imports: ['kernel'] },
  engines: { imports: ['kernel'] },
  wal: { imports: ['kernel'] },
  storage: { imports: ['wal', 'engines', 'kernel'] },
  pgdump: { imports: ['pgwire', 'engines', 'kernel'] },
  compute: { imports: ['wal', 'pgwire', 'kernel'], types: ['engines', 'storage', 'host'] },
  host: { imports: ['compute', 'storage', 'wal', 'pgdump', 'engines', 'kernel'] },
  gateway: { imports: ['pgwire', 'kernel'] },
  metadata: { imports: ['engines', 'kernel'] },
  operations: { imports: ['metadata', 'kernel'] },
  platform: { imports: ['operations', 'metadata', 'kernel'], types: ['host'] },
  directory: { imports: ['kernel'], types: ['gateway'] },
  api: { imports: ['kernel'], types: ['platform'] },
  processes: {
    imports: [
      'config',
      'engines',
      'storage',
      'compute',
      'host',
      'gateway',
      'metadata',
      'operations',
      'platform',
      'directory',
      'api',
      'kernel',
    ],
  },
  'main.ts': { imports: ['config', 'processes', 'kernel'] },
};

/** Packages: what each may import of the others, by folder where it is the server. */
export const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  contract: [],
  server: ['contract'],
  cli: ['contract', 'server/config', 'server/engines', 'server/storage', 'server/kernel'],
};
