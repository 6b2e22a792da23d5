import { done, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { unlessNotFound } from '../command/unless-not-found.ts';
import type { PlatformDeps } from '../context.ts';
import { findProjectRow, listVolumeIds } from './project-rows.ts';

interface ApplyHistoryRetentionInput {
  readonly projectId: string;
}

/** Tells the host how long the history of the project's volumes is to be kept. A volume to come is made with it. */
export const applyHistoryRetention: OperationDefinition<ApplyHistoryRetentionInput, PlatformDeps> = {
  kind: 'apply_history_retention',
  action: 'apply_storage_config',
  deadlineMs: 24 * 60 * 60_000,
  firstStep: 'apply',
  steps: {
    apply: async ({ deps }, { projectId }) => {
      const { metadata, host } = deps;
      const project = await findProjectRow(metadata, projectId);
      if (!project) return skipped;
      for (const volumeId of await listVolumeIds(metadata, projectId)) {
        await unlessNotFound(host.setHistoryRetention(volumeId, project.historyRetentionSeconds));
      }
      return done;
    },
  },
};
