import type { SnapshotCreateBody } from '@tenantry/contract/snapshot.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { defined } from '../defined.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { presentBranch } from '../presenters/present-branch.ts';
import { presentEndpoint } from '../presenters/present-endpoint.ts';
import { presentOperations } from '../presenters/present-operation.ts';
import { presentSchedule, presentSnapshot } from '../presenters/present-snapshot.ts';
import { toDate, toMomentInput } from './moment-input.ts';

type Names =
  | 'createSnapshot'
  | 'listSnapshots'
  | 'updateSnapshot'
  | 'deleteSnapshot'
  | 'restoreSnapshot'
  | 'getSnapshotSchedule'
  | 'setSnapshotSchedule';

const FIELDS = { lsn: 'lsn', timestamp: 'timestamp' };

export function snapshotRoutes({ platform, domain }: HandlerContext): Pick<Handlers, Names> {
  const { snapshots, endpoints } = platform;
  return {
    createSnapshot: async ({ principal, params, query, body }) => {
      const { lsn, timestamp, name, expires_at } = mergeFields(query, body);
      const { snapshot, operations } = await snapshots.create(principal, params.project_id, params.branch_id, {
        ...defined({
          name,
          at: toMomentInput(lsn, timestamp, FIELDS),
          expiresAt: expires_at === undefined ? undefined : toDate('expires_at', expires_at),
        }),
      });
      return { snapshot: presentSnapshot(snapshot), ...presentOperations(operations) };
    },

    listSnapshots: async ({ principal, params }) => ({
      snapshots: (await snapshots.list(principal, params.project_id)).map(presentSnapshot),
    }),

    updateSnapshot: async ({ principal, params, body: { snapshot: fields } }) => {
      const { name, expires_at } = fields;
      const expiresAt = typeof expires_at === 'string' ? toDate('snapshot.expires_at', expires_at) : expires_at;
      const input = defined({ name, expiresAt });
      return {
        snapshot: presentSnapshot(await snapshots.update(principal, params.project_id, params.snapshot_id, input)),
      };
    },

    deleteSnapshot: async ({ principal, params }) =>
      presentOperations(await snapshots.delete(principal, params.project_id, params.snapshot_id)),

    restoreSnapshot: async ({ principal, params, query, body }) => {
      const { project_id: projectId, snapshot_id: snapshotId } = params;
      const input = defined({
        name: body.name ?? query.name,
        targetBranchId: body.target_branch_id,
        isFinal: body.finalize_restore,
      });
      const { branch, operations } = await snapshots.restore(principal, projectId, snapshotId, input);
      const present = await endpoints.list(principal, projectId, branch.id);
      return {
        branch: presentBranch(branch),
        endpoints: present.map((endpoint) => presentEndpoint(endpoint, domain)),
        ...presentOperations(operations),
      };
    },

    getSnapshotSchedule: async ({ principal, params }) =>
      presentSchedule(await snapshots.schedule(principal, params.project_id, params.branch_id)),

    setSnapshotSchedule: async ({ principal, params, body }) => {
      const items = body.schedule.map(({ retention_seconds, ...item }) => ({
        ...item,
        ...defined({ retentionSeconds: retention_seconds }),
      }));
      await snapshots.setSchedule(principal, params.project_id, params.branch_id, items);
      return {};
    },
  };
}

/** @throws PlatformError INVALID_REQUEST for a field that is given in both, differently */
function mergeFields(query: SnapshotCreateBody, body: SnapshotCreateBody): SnapshotCreateBody {
  for (const name of Object.keys(body) as (keyof SnapshotCreateBody)[]) {
    if (query[name] !== undefined && query[name] !== body[name]) {
      throw new PlatformError('INVALID_REQUEST', `Cannot accept ${name}: the query and the body differ`);
    }
  }
  return { ...query, ...body };
}
