import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import type { Branch, BranchChange, CreatedBranch, Platform } from '../../platform/platform.ts';
import { newBranch, newEndpoint, NOW } from './memory-objects.ts';
import { connectionOf, newStoredBranch, pageOf, type MemoryStore, type StoredBranch } from './memory-store.ts';

/** Branches in memory: they have what their parent has, whatever moment is asked for. */
export function memoryBranches(store: MemoryStore): Platform['branches'] {
  const change = (stored: StoredBranch, fields: Partial<Branch>): BranchChange => {
    stored.branch = { ...stored.branch, ...fields };
    return { branch: stored.branch, operations: [] };
  };
  return {
    list: async (_principal, projectId, { search = '', includeDeleted = false, ...page }) =>
      pageOf(
        [...store.find(projectId).branches.values()]
          .map(({ branch }) => branch)
          .filter(({ name, deletedAt }) => name.includes(search) && (includeDeleted || deletedAt === null)),
        page,
      ),
    get: async (_principal, projectId, branchId) => store.findBranch(projectId, branchId).branch,
    create: async (_principal, projectId, input): Promise<CreatedBranch> => createBranch(store, projectId, input),
    update: async (_principal, projectId, branchId, { name, isProtected, expiresAt, annotations }) =>
      change(store.findBranch(projectId, branchId), {
        ...(name !== undefined && { name }),
        ...(isProtected !== undefined && { isProtected }),
        ...(expiresAt !== undefined && { expiresAt, ttlSeconds: expiresAt && 3600 }),
        ...(annotations !== undefined && { annotations }),
      }),
    setDefault: async (_principal, projectId, branchId) => {
      for (const stored of store.find(projectId).branches.values()) change(stored, { isDefault: false });
      return change(store.findBranch(projectId, branchId), { isDefault: true });
    },
    delete: async (_principal, projectId, branchId, { isHard }) => {
      const stored = store.findBranch(projectId, branchId);
      const { id, isDefault, name, deletedAt } = stored.branch;
      if (isDefault) throw new PlatformError('CONFLICT', `Cannot delete branch ${name}: it is the default branch`);
      if (deletedAt !== null && !isHard) return undefined;
      if (isHard) store.find(projectId).branches.delete(id);
      const { branch } = change(stored, { deletedAt: NOW, recoverableUntil: NOW });
      return { branch, operations: [store.order(projectId, 'delete_timeline', { branchId: id })] };
    },
    recover: async (_principal, projectId, branchId) =>
      change(store.findBranch(projectId, branchId), { deletedAt: null, recoverableUntil: null }),
    restore: async (_principal, projectId, branchId, { preserveUnderName }) => {
      const stored = store.findBranch(projectId, branchId);
      if (preserveUnderName !== undefined) {
        const kept = newBranch(projectId, preserveUnderName, false);
        store.find(projectId).branches.set(kept.id, newStoredBranch(kept));
      }
      return change(stored, { lastResetAt: NOW });
    },
    finalizeRestore: async (_principal, projectId, branchId, { name }) =>
      change(store.findBranch(projectId, branchId), {
        restoreStatus: 'finalized',
        ...(name !== undefined && { name }),
      }),
    schema: async (_principal, projectId, branchId) => {
      store.findBranch(projectId, branchId);
      return 'CREATE TABLE public.t (id integer);\n';
    },
    compareSchema: async (_principal, projectId, branchId) => {
      store.findBranch(projectId, branchId);
      return '--- a/neondb\n+++ b/neondb\n';
    },
  };
}

function createBranch(
  store: MemoryStore,
  projectId: string,
  input: Parameters<Platform['branches']['create']>[2],
): CreatedBranch {
  const { project, branches, endpoints } = store.find(projectId);
  const defaultId = [...branches.values()].find(({ branch }) => branch.isDefault)?.branch.id;
  const parent = store.findBranch(projectId, input.parentId ?? must(defaultId));
  const isRoot = input.initSource === 'schema-only';
  const blank = newBranch(projectId, input.name ?? '', false);
  const stored = newStoredBranch({
    ...blank,
    name: input.name ?? blank.id,
    parentId: isRoot ? null : parent.branch.id,
    parentLsn: isRoot ? null : (input.at?.lsn ?? '0/16B3748'),
    parentTimestamp: isRoot ? null : (input.at?.timestamp ?? NOW.toISOString()),
    initSource: input.initSource ?? 'parent-data',
    isProtected: input.isProtected ?? false,
    expiresAt: input.expiresAt ?? null,
    ttlSeconds: input.expiresAt ? 3600 : null,
    annotations: input.annotations ?? {},
  });
  const { branch } = stored;
  for (const [name, { role, password }] of parent.roles) {
    stored.roles.set(name, { role: { ...role, branchId: branch.id }, password });
  }
  for (const { name, ownerName } of parent.databases.values()) store.addDatabase(stored, name, ownerName);
  branches.set(branch.id, stored);
  const made = (input.endpoints ?? []).map(({ type }) => newEndpoint(branch, project.regionId, type));
  for (const endpoint of made) endpoints.set(endpoint.id, endpoint);
  const roles = [...stored.roles.values()].map(({ role }) => role);
  const databases = [...stored.databases.values()];
  const [endpoint, role, database] = [made[0], roles[0], databases[0]];
  return {
    branch,
    endpoints: made,
    roles,
    passwords: new Map(),
    databases,
    connections:
      endpoint && role && database
        ? [connectionOf(stored, { endpoint, role: role.name, database: database.name })]
        : [],
    operations: [
      store.order(projectId, 'create_branch', { branchId: branch.id }),
      ...made.map(({ id }) => store.order(projectId, 'start_compute', { branchId: branch.id, endpointId: id })),
    ],
  };
}
