import type { Transaction } from 'kysely';
import { PlatformError } from '../../kernel/errors.ts';
import type { Tables } from '../../metadata/tables.ts';
import { checkDatabaseName } from '../catalog/catalog-name.ts';
import { orderCatalogChange } from '../catalog/order-catalog-change.ts';
import { badField, printable } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { DatabaseChange, Principal } from '../platform.ts';
import { beingDeleted } from '../roles/create-role.ts';
import { findRoleRow } from '../roles/role-rows.ts';
import { findDatabaseRow, insertDatabase, listDatabaseRows, toDatabase } from './database-rows.ts';

const DATABASES_MAX = 500;

/** @throws PlatformError INVALID_REQUEST, RESERVED_NAME, ALREADY_EXISTS, PROJECT_LOCKED, DATABASES_LIMIT_EXCEEDED */
export async function createDatabase(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  input: { readonly name: string; readonly ownerName: string },
): Promise<DatabaseChange> {
  const name = checkDatabaseName(input.name, 'database.name');
  const { ownerName } = input;
  const { value, operations } = await orderCatalogChange(
    context,
    principal,
    { projectId, branchId },
    async ({ tx }, branch) => {
      await checkOwner(tx, branch.branchId, ownerName);
      await checkNameIsFree(tx, branch.branchId, name);
      await checkLimit(tx, branch.branchId, name);
      const database = await insertDatabase(tx, { branchId: branch.branchId, name, ownerName });
      return {
        value: toDatabase(database),
        order: {
          change: { kind: 'create_database', name, owner: ownerName },
          undo: { kind: 'remove_database', id: String(database.id) },
        },
      };
    },
  );
  return { database: value, operations };
}

/** @throws PlatformError INVALID_REQUEST if the branch has no such role */
export async function checkOwner(tx: Transaction<Tables>, branchId: string, ownerName: string): Promise<void> {
  const owner = await findRoleRow(tx, branchId, ownerName);
  if (!owner || owner.isDeleting) throw badField('database.owner_name', 'the name of a role of the branch');
}

/** @throws PlatformError ALREADY_EXISTS, PROJECT_LOCKED */
export async function checkNameIsFree(tx: Transaction<Tables>, branchId: string, name: string): Promise<void> {
  const holder = await findDatabaseRow(tx, branchId, name);
  if (holder?.isDeleting) throw beingDeleted('database', name);
  if (holder) {
    throw new PlatformError(
      'ALREADY_EXISTS',
      `Cannot use the name ${printable(name)}: the branch has a database of it`,
    );
  }
}

async function checkLimit(tx: Transaction<Tables>, branchId: string, name: string): Promise<void> {
  if ((await listDatabaseRows(tx, branchId)).length < DATABASES_MAX) return;
  throw new PlatformError(
    'DATABASES_LIMIT_EXCEEDED',
    `Cannot create database ${printable(name)}: the branch has ${DATABASES_MAX} databases, as many as it may have`,
  );
}
