import { PlatformError } from '../../kernel/errors.ts';
import type { MomentRequest } from '../../host/host.ts';
import { badField, checkName } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import { checkNewEndpoint, type CheckedEndpoint } from '../endpoints/new-endpoint.ts';
import type { CreateBranchInput } from '../platform.ts';
import type { ProjectRow } from '../projects/project-rows.ts';
import { checkAnnotations, checkExpiration, checkMoment } from './branch-checks.ts';
import type { Expiration } from './branch-changes.ts';
import { BRANCHES_MAX, PROTECTED_BRANCHES_MAX, READ_ONLY_ENDPOINTS_MAX, ROOT_BRANCHES_MAX } from './branch-limits.ts';
import type { BranchCounts } from './branch-rows.ts';

/** What a new branch is to be like: checked, with nothing left open. */
export interface CheckedBranch {
  readonly name: string;
  readonly at: MomentRequest;
  readonly isSchemaOnly: boolean;
  readonly isProtected: boolean;
  readonly expiration: Expiration | undefined;
  readonly annotations: Readonly<Record<string, string>>;
  readonly endpoints: readonly CheckedEndpoint[];
}

/** @param branchId the name of a branch that is given none. @throws PlatformError INVALID_REQUEST */
export function checkNewBranch(
  context: PlatformContext,
  project: ProjectRow,
  input: CreateBranchInput,
  branchId: string,
): CheckedBranch {
  const now = context.now();
  if (input.isArchived) throw badField('branch.archived', 'only false: a branch cannot be created as archived');
  const expiration = input.expiresAt && checkExpiration(input.expiresAt, now);
  const isProtected = input.isProtected ?? false;
  if (isProtected && expiration) throw badField('branch.expires_at', 'nothing where branch.protected is true');
  return {
    name: input.name === undefined ? branchId : checkName('branch.name', input.name),
    at: checkMoment(input.at ?? {}, now, 'branch.parent_'),
    isSchemaOnly: input.initSource === 'schema-only',
    isProtected,
    expiration,
    annotations: checkAnnotations(input.annotations ?? {}, 'annotation_value'),
    endpoints: checkEndpoints(context, project, input.endpoints ?? []),
  };
}

function checkEndpoints(
  context: PlatformContext,
  project: ProjectRow,
  inputs: NonNullable<CreateBranchInput['endpoints']>,
): readonly CheckedEndpoint[] {
  const readOnly = inputs.filter(({ type }) => type === 'read_only').length;
  if (inputs.length - readOnly > 1) throw badField('endpoints', 'at most one endpoint of type read_write');
  if (readOnly > READ_ONLY_ENDPOINTS_MAX) {
    throw new PlatformError(
      'ENDPOINTS_LIMIT_EXCEEDED',
      `Cannot create the branch: it may have at most ${READ_ONLY_ENDPOINTS_MAX} read-only endpoints`,
    );
  }
  return inputs.map((input) => checkNewEndpoint(context, project, input, 'endpoints.'));
}

/** @throws PlatformError BRANCHES_LIMIT_EXCEEDED, ROOT_BRANCHES_LIMIT_EXCEEDED, BRANCHES_PROTECTED_LIMIT_EXCEEDED */
export function checkBranchLimits(
  counts: BranchCounts,
  { isRoot, isProtected }: { readonly isRoot: boolean; readonly isProtected: boolean },
): void {
  if (counts.all >= BRANCHES_MAX) {
    throw new PlatformError(
      'BRANCHES_LIMIT_EXCEEDED',
      `Cannot create the branch: the project has ${BRANCHES_MAX} branches, as many as it may have`,
    );
  }
  if (isRoot && counts.roots >= ROOT_BRANCHES_MAX) {
    throw new PlatformError(
      'ROOT_BRANCHES_LIMIT_EXCEEDED',
      `Cannot create the branch: the project has ${ROOT_BRANCHES_MAX} root branches, as many as it may have`,
    );
  }
  if (isProtected) checkProtectedLimit(counts);
}

/** @throws PlatformError BRANCHES_PROTECTED_LIMIT_EXCEEDED */
export function checkProtectedLimit(counts: BranchCounts): void {
  if (counts.protected < PROTECTED_BRANCHES_MAX) return;
  throw new PlatformError(
    'BRANCHES_PROTECTED_LIMIT_EXCEEDED',
    `Cannot protect the branch: the project has ${PROTECTED_BRANCHES_MAX} protected branches, as many as it may have`,
  );
}
