import type { RouteName, Routes } from '@tenantry/contract/routes.ts';
import type { Static, TSchema } from 'typebox';
import type { Platform, Principal } from '../platform/platform.ts';

/** What a handler is given of a request: already authenticated and validated. */
export interface RouteRequest<Name extends RouteName> {
  readonly principal: Principal;
  readonly params: Static<Routes[Name]['params']>;
  readonly query: Static<Routes[Name]['query']>;
  readonly body: Routes[Name] extends { readonly body: infer Body extends TSchema } ? Static<Body> : undefined;
}

export type Handler<Name extends RouteName> = (
  request: RouteRequest<Name>,
) => Promise<Static<Routes[Name]['response']>>;

/** A handler for every route of the contract. */
export type Handlers = { readonly [Name in RouteName]: Handler<Name> };

/** What handlers work with. */
export interface HandlerContext {
  readonly platform: Platform;
  /** Where projects can be, the default first; empty: anywhere, shown as `local`. */
  readonly regions: readonly string[];
  /** Host name of the gateway. */
  readonly domain: string;
}
