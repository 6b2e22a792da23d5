import { defineConfig } from 'vitest/config';

/** `pure` touches nothing; `process` spawns Postgres and real volumes; `system` boots the whole platform. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'pure',
          include: ['packages/*/src/**/*.test.ts', 'tests/architecture/**/*.test.ts'],
          exclude: ['**/*.proc.test.ts'],
        },
      },
      {
        test: {
          name: 'process',
          include: ['packages/*/src/**/*.proc.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // More than cores: many tests wait for a clock or a disk.
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'system',
          include: ['test/**/*.system.test.ts', 'tests/**/*.system.test.ts'],
          testTimeout: 240_000,
          hookTimeout: 240_000,
          maxWorkers: 1,
        },
      },
    ],
  },
});
