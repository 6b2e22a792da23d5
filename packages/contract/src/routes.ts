import { accountRoutes } from './routes-account.ts';
import { branchRoutes } from './routes-branch.ts';
import { projectRoutes } from './routes-project.ts';
import { schemaRoutes } from './routes-schema.ts';
import { snapshotRoutes } from './routes-snapshot.ts';
import type { RouteDefinition } from './route.ts';

/** Where the management API is. */
export const API_PREFIX = '/api/v2';

/** Every route of the management API by its operation id, which is Neon's. */
export const ROUTES = {
  ...projectRoutes,
  ...branchRoutes,
  ...schemaRoutes,
  ...snapshotRoutes,
  ...accountRoutes,
} as const satisfies Record<string, RouteDefinition>;

export type Routes = typeof ROUTES;
export type RouteName = keyof Routes;
