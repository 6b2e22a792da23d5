import type { Host } from './host.ts';

/**
 * `Host` over HTTP on a unix socket, between processes of one Tenantry: `POST /<method>` with the arguments as a JSON
 * array, answered by the result, or by an error body. `GET /reports?since=<version>` is a stream of one report a line.
 */
export const HOST_METHODS = [
  'info',
  'createVolume',
  'branchVolume',
  'createReplicaVolume',
  'createSchemaOnlyVolume',
  'dumpSchema',
  'archiveVolume',
  'unarchiveVolume',
  'archivedVolumes',
  'deleteVolume',
  'volumeUsage',
  'volumeHistory',
  'findMoment',
  'setHistoryRetention',
  'storageSpace',
  'growStorage',
  'applySpec',
  'removeEndpoint',
  'acquire',
  'suspend',
  'restart',
  'applyCatalog',
  'findRoleVerifier',
  'acknowledgeRuns',
] as const satisfies readonly Exclude<keyof Host, 'reports'>[];

export type HostMethod = (typeof HOST_METHODS)[number];

export const isHostMethod = (name: string): name is HostMethod => HOST_METHODS.some((method) => method === name);

/** A `PlatformError` on its way. */
export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}
