import type { ComputeState } from '../host/host.ts';

/**
 * The life of an endpoint's compute as one total table; `COMPUTE.spec.md` explains it. Pure: whoever holds the state
 * (`host/endpoint.ts`) dispatches events and carries out the effect.
 */
export const COMPUTE_STATES = ['idle', 'starting', 'active', 'suspending', 'restarting', 'failed', 'backoff'] as const;

/**
 * - `idle`: no process.
 * - `starting`: a process is being made or is not ready yet; callers wait.
 * - `active`: it accepts connections.
 * - `suspending`: it is being stopped and nobody wants it.
 * - `restarting`: it is being stopped and will be started as soon as it is gone.
 * - `failed`: no process; the last start failed or the last run crashed. No timer runs.
 * - `backoff`: as `failed`, but callers wait for the pause before the next start to end.
 */
export type LifeState = (typeof COMPUTE_STATES)[number];

export const COMPUTE_EVENTS = [
  'acquire',
  'found',
  'found_leaving',
  'ready',
  'ended',
  'suspend',
  'disable',
  'restart',
  'backoff_over',
] as const;

/**
 * - `acquire`: somebody wants the compute awake.
 * - `found`: after a restart of the host, the endpoint's Postgres was found running.
 * - `found_leaving`: the same, of a Postgres that is being stopped, or has to be.
 * - `ready`: the process accepts connections.
 * - `ended`: the process and all its children are gone, wanted or not.
 * - `suspend`: nobody uses it (idle timeout), or the API asks for it.
 * - `disable`: it must be down, whoever waits for it (disabled, removed, host stops).
 * - `restart`: the API, or settings that need it.
 * - `backoff_over`: the pause after a failure has passed.
 */
export type LifeEvent = (typeof COMPUTE_EVENTS)[number];

/**
 * - `start`: make the process. `watch`: wait for the found one. `stop`: end the process.
 * - `serve`: answer all who wait with the address. `fail`: answer them with the reason. `crash`: note an unexpected end.
 * - `schedule`: set the timer of the pause. `refuse`: tell the caller that the compute does not run.
 */
export type Effect = 'none' | 'start' | 'watch' | 'stop' | 'serve' | 'fail' | 'crash' | 'schedule' | 'refuse';

export interface Transition {
  readonly next: LifeState;
  readonly effect: Effect;
}

const to = (next: LifeState, effect: Effect = 'none'): Transition => ({ next, effect });

export const TRANSITIONS = {
  idle: {
    acquire: to('starting', 'start'),
    found: to('starting', 'watch'),
    found_leaving: to('suspending', 'stop'),
    ready: to('idle'),
    ended: to('idle'),
    suspend: to('idle'),
    disable: to('idle'),
    restart: to('idle', 'refuse'),
    backoff_over: to('idle'),
  },
  starting: {
    acquire: to('starting'),
    found: to('starting'),
    found_leaving: to('starting'),
    ready: to('active', 'serve'),
    ended: to('failed', 'fail'),
    // A start has callers: stopping it would only make them wait for the next one. The suspend comes after `ready`.
    suspend: to('starting'),
    disable: to('suspending', 'stop'),
    restart: to('starting'),
    backoff_over: to('starting'),
  },
  active: {
    acquire: to('active', 'serve'),
    found: to('active'),
    found_leaving: to('active'),
    ready: to('active'),
    ended: to('failed', 'crash'),
    suspend: to('suspending', 'stop'),
    disable: to('suspending', 'stop'),
    restart: to('restarting', 'stop'),
    backoff_over: to('active'),
  },
  suspending: {
    acquire: to('restarting'),
    found: to('suspending'),
    found_leaving: to('suspending'),
    ready: to('suspending'),
    ended: to('idle'),
    suspend: to('suspending'),
    disable: to('suspending'),
    restart: to('suspending', 'refuse'),
    backoff_over: to('suspending'),
  },
  restarting: {
    acquire: to('restarting'),
    found: to('restarting'),
    found_leaving: to('restarting'),
    ready: to('restarting'),
    ended: to('starting', 'start'),
    suspend: to('restarting'),
    disable: to('suspending'),
    restart: to('restarting'),
    backoff_over: to('restarting'),
  },
  failed: {
    acquire: to('backoff', 'schedule'),
    // The report on the disk was older than the start.
    found: to('starting', 'watch'),
    found_leaving: to('suspending', 'stop'),
    ready: to('failed'),
    ended: to('failed'),
    suspend: to('idle'),
    disable: to('idle'),
    restart: to('failed', 'refuse'),
    backoff_over: to('failed'),
  },
  backoff: {
    acquire: to('backoff'),
    found: to('backoff'),
    found_leaving: to('backoff'),
    ready: to('backoff'),
    ended: to('backoff'),
    suspend: to('backoff'),
    disable: to('idle'),
    restart: to('backoff', 'refuse'),
    backoff_over: to('starting', 'start'),
  },
} as const satisfies Record<LifeState, Record<LifeEvent, Transition>>;

export function transition(state: LifeState, event: LifeEvent): Transition {
  return TRANSITIONS[state][event];
}

/** How a state is seen from outside. */
export const SEEN_STATES: Readonly<Record<LifeState, ComputeState>> = {
  idle: 'idle',
  starting: 'starting',
  active: 'active',
  suspending: 'suspending',
  restarting: 'starting',
  failed: 'failed',
  backoff: 'failed',
};

/** In these states a Postgres process exists, or is about to. */
export const hasProcess = (state: LifeState): boolean =>
  state === 'starting' || state === 'active' || state === 'suspending' || state === 'restarting';
