import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { COMPUTE_EVENTS, COMPUTE_STATES, hasProcess, transition, TRANSITIONS, type LifeState } from './state.ts';

/** Every cell, written a second time and in another way: `next` or `next/effect`, in the order of COMPUTE_EVENTS. */
const TRUTH: Record<LifeState, string> = {
  //          acquire          found           found_leaving    ready         ended           suspend          disable          restart          backoff_over
  idle: '      starting/start   starting/watch  suspending/stop  idle          idle            idle             idle             idle/refuse      idle',
  starting:
    '  starting         starting        starting         active/serve  failed/fail     starting         suspending/stop  starting         starting',
  active:
    '    active/serve     active          active           active        failed/crash    suspending/stop  suspending/stop  restarting/stop  active',
  suspending:
    'restarting       suspending      suspending       suspending    idle            suspending       suspending       suspending/refuse suspending',
  restarting:
    'restarting       restarting      restarting       restarting    starting/start  restarting       suspending       restarting       restarting',
  failed:
    '    backoff/schedule starting/watch  suspending/stop  failed        failed          idle             idle             failed/refuse    failed',
  backoff:
    '   backoff          backoff         backoff          backoff       backoff         backoff          idle             backoff/refuse   starting/start',
};

describe('the table of states', () => {
  for (const state of COMPUTE_STATES) {
    const cells = TRUTH[state].trim().split(/\s+/);
    COMPUTE_EVENTS.forEach((event, i) => {
      test(`${state} + ${event}`, () => {
        const [next, effect = 'none'] = (cells[i] ?? '').split('/');
        expect(transition(state, event)).toEqual({ next, effect });
      });
    });
  }

  test('a process is made only where none is, and stopped only where one is', () => {
    for (const state of COMPUTE_STATES) {
      for (const event of COMPUTE_EVENTS) {
        const { next, effect } = TRANSITIONS[state][event];
        if (effect === 'start') expect(hasProcess(state) && event !== 'ended').toBe(false);
        const isFound = event === 'found' || event === 'found_leaving';
        if (effect === 'stop') expect(hasProcess(state) || isFound).toBe(true);
        if (hasProcess(next) && !hasProcess(state)) expect(isFound ? ['watch', 'stop'] : ['start']).toContain(effect);
        if (hasProcess(state) && !hasProcess(next)) expect(event).toBe('ended');
      }
    }
  });
});

/** What the host does with the table, with processes that are only counted. */
class Model {
  state: LifeState = 'idle';
  processes = 0;
  processesMax = 0;
  starts = 0;
  waiting = 0;
  served = 0;
  failed = 0;
  isTimerSet = false;

  dispatch(event: (typeof COMPUTE_EVENTS)[number]): void {
    const { next, effect } = transition(this.state, event);
    this.state = next;
    if (effect === 'start') {
      this.starts++;
      this.processes++;
      this.processesMax = Math.max(this.processesMax, this.processes);
    }
    if (effect === 'schedule') this.isTimerSet = true;
    if (effect === 'serve') {
      this.served += this.waiting;
      this.waiting = 0;
    }
    if (effect === 'fail' || effect === 'crash') {
      this.failed += this.waiting;
      this.waiting = 0;
    }
  }

  acquire(): void {
    this.waiting++;
    this.dispatch('acquire');
  }

  disable(): void {
    this.failed += this.waiting;
    this.waiting = 0;
    this.dispatch('disable');
  }

  end(): void {
    if (this.processes === 0) return;
    this.processes--;
    this.dispatch('ended');
  }

  ready(): void {
    if (this.processes > 0) this.dispatch('ready');
  }

  /** The next host finds the process, if there is one. What its callers wait for, they ask of that host again. */
  killHost(reported: 'idle' | 'failed'): void {
    const isStopping = this.state === 'suspending' || this.state === 'restarting';
    const callers = this.waiting;
    this.state = reported;
    this.waiting = 0;
    this.isTimerSet = false;
    if (this.processes > 0) this.dispatch(isStopping ? 'found_leaving' : 'found');
    for (let i = 0; i < callers; i++) this.acquire();
  }

  fireTimer(): void {
    if (!this.isTimerSet) return;
    this.isTimerSet = false;
    this.dispatch('backoff_over');
  }

  /** The world goes on until nothing moves: processes become ready or, if they are being stopped, end. */
  settle(): void {
    for (let i = 0; i < 10; i++) {
      this.fireTimer();
      if (this.state === 'suspending' || this.state === 'restarting') this.end();
      if (this.state === 'starting') this.ready();
    }
  }
}

const actions = fc.array(
  fc.constantFrom(
    ...(['acquire', 'ready', 'end', 'suspend', 'disable', 'restart', 'fireTimer', 'settle'] as const),
    ...(['killHost', 'killHostAfterFailure'] as const),
  ),
  { maxLength: 60 },
);

function run(model: Model, list: readonly string[]): void {
  for (const action of list) {
    if (action === 'suspend' || action === 'restart') model.dispatch(action);
    else if (action === 'killHost') model.killHost('idle');
    else if (action === 'killHostAfterFailure') model.killHost('failed');
    else model[action as 'acquire' | 'ready' | 'end' | 'disable' | 'fireTimer' | 'settle']();
    expect(model.processes).toBe(hasProcess(model.state) ? 1 : 0);
  }
}

describe('the life of a compute', () => {
  test('there are never two processes, whatever happens', () => {
    fc.assert(
      fc.property(actions, (list) => {
        const model = new Model();
        run(model, list);
        expect(model.processesMax).toBeLessThanOrEqual(1);
      }),
      { numRuns: 3000 },
    );
  });

  test('whoever waits is answered in the end: served, or told of a failure', () => {
    fc.assert(
      fc.property(actions, (list) => {
        const model = new Model();
        run(model, list);
        model.settle();
        expect(model.waiting).toBe(0);
      }),
      { numRuns: 3000 },
    );
  });

  test('after any history the next acquire gives a running compute', () => {
    fc.assert(
      fc.property(actions, (list) => {
        const model = new Model();
        run(model, list);
        const served = model.served;
        model.acquire();
        model.settle();
        expect(model.state).toBe('active');
        expect(model.served).toBeGreaterThan(served);
      }),
      { numRuns: 3000 },
    );
  });

  test('a thousand acquires give one start', () => {
    const model = new Model();
    for (let i = 0; i < 1000; i++) model.acquire();
    model.settle();
    expect(model).toMatchObject({ starts: 1, served: 1000, state: 'active' });
  });

  test('an acquire during a suspend is served by the next start', () => {
    const model = new Model();
    model.acquire();
    model.settle();
    model.dispatch('suspend');
    model.acquire();
    expect(model.processes).toBe(1);
    model.settle();
    expect(model).toMatchObject({ starts: 2, served: 2, failed: 0, state: 'active' });
  });

  test('a crash is followed by a start with the next acquire', () => {
    const model = new Model();
    model.acquire();
    model.settle();
    model.end();
    expect(model.state).toBe('failed');
    model.acquire();
    model.settle();
    expect(model).toMatchObject({ starts: 2, served: 2, failed: 0, state: 'active' });
  });
});
