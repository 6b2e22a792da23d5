import type { BranchId, EndpointId, OrganizationId, ProjectId, SnapshotId } from '@tenantry/contract/ids.ts';
import type { Secret } from '../kernel/secret.ts';

/** What the platform's calls give back. */

/** As in the API (snake_case there); undefined means "leave as it is" or "take the default". */
export interface ProjectSettings {
  readonly quota?: {
    readonly activeTimeSeconds?: number;
    readonly computeTimeSeconds?: number;
    readonly writtenDataBytes?: number;
    readonly dataTransferBytes?: number;
    readonly logicalSizeBytes?: number;
  };
  readonly allowedIps?: { readonly ips?: readonly string[]; readonly protectedBranchesOnly?: boolean };
  readonly enableLogicalReplication?: boolean;
  readonly blockPublicConnections?: boolean;
  readonly blockVpcConnections?: boolean;
  readonly hipaa?: boolean;
  readonly maintenanceWindow?: {
    readonly weekdays: readonly number[];
    readonly startTime: string;
    readonly endTime: string;
  };
}

export interface DefaultEndpointSettings {
  readonly autoscalingLimitMinCu?: number;
  readonly autoscalingLimitMaxCu?: number;
  /** 0: the default (300), -1: never. */
  readonly suspendTimeoutSeconds?: number;
  readonly pgSettings?: Readonly<Record<string, string>>;
}

export interface Project {
  readonly id: ProjectId;
  readonly organizationId: OrganizationId;
  readonly name: string;
  readonly regionId: string;
  readonly pgVersion: number;
  readonly settings: ProjectSettings;
  readonly defaultEndpointSettings: DefaultEndpointSettings;
  readonly historyRetentionSeconds: number;
  readonly storePasswords: boolean;
  readonly creatorUserId: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly computeLastActiveAt: Date | null;
  readonly usage: ProjectUsage;
}

/** Of the present billing period (calendar month, UTC), but for the logical size. */
export interface ProjectUsage {
  readonly periodStart: Date;
  readonly periodEnd: Date;
  readonly activeTimeSeconds: number;
  readonly computeTimeSeconds: number;
  readonly cpuUsedSeconds: number;
  readonly writtenDataBytes: number;
  readonly dataTransferBytes: number;
  readonly dataStorageBytesHour: number;
  readonly logicalBytes: number;
}

export interface Branch {
  readonly id: BranchId;
  readonly projectId: ProjectId;
  readonly parentId: BranchId | null;
  readonly name: string;
  readonly state: 'init' | 'ready' | 'archived' | 'resetting';
  readonly pendingState: 'ready' | 'archived' | 'storage_deleted' | null;
  readonly stateChangedAt: Date;
  readonly isDefault: boolean;
  readonly isProtected: boolean;
  readonly logicalBytes: number | null;
  readonly initSource: 'parent-data' | 'schema-only';
  /** The moment of the parent that it began at; null for a root branch, and until its volume is made. */
  readonly parentLsn: string | null;
  /** RFC 3339, to the microsecond. */
  readonly parentTimestamp: string | null;
  readonly expiresAt: Date | null;
  readonly ttlSeconds: number | null;
  readonly lastResetAt: Date | null;
  readonly restoredFrom: SnapshotId | null;
  readonly restoredAs: BranchId | null;
  readonly restoreStatus: 'restored' | 'finalized' | 'detaching' | null;
  /** Deleted, and to be recovered until `recoverableUntil`. */
  readonly deletedAt: Date | null;
  readonly recoverableUntil: Date | null;
  readonly annotations: Readonly<Record<string, string>>;
  readonly createdByName: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly usage: ProjectUsage;
}

export interface Endpoint {
  readonly id: EndpointId;
  readonly branchId: BranchId;
  readonly projectId: ProjectId;
  readonly name: string | null;
  readonly type: 'read_write' | 'read_only';
  /** `ep-x.db.example.com`, or `localhost` where names below it do not resolve. */
  readonly hostname: string;
  readonly regionId: string;
  readonly minCu: number;
  readonly maxCu: number;
  /** As the client gave it: 0 default, -1 never. */
  readonly suspendTimeoutSeconds: number;
  readonly disabled: boolean;
  readonly poolerEnabled: boolean;
  readonly pgSettings: Readonly<Record<string, string>>;
  readonly state: 'init' | 'active' | 'idle';
  readonly pendingState: 'active' | 'idle' | null;
  readonly computeReleaseVersion: string | null;
  readonly creationSource: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly startedAt: Date | null;
  readonly suspendedAt: Date | null;
  readonly lastActiveAt: Date | null;
  /** Bytes of WAL that an awake read-only endpoint has still to replay; null of any other. */
  readonly replicaLagBytes: number | null;
}

export interface Role {
  readonly branchId: BranchId;
  readonly name: string;
  readonly isProtected: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface Database {
  readonly id: number;
  readonly branchId: BranchId;
  readonly name: string;
  readonly ownerName: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface Operation {
  readonly id: string;
  readonly projectId: ProjectId;
  readonly branchId: BranchId | null;
  readonly endpointId: EndpointId | null;
  readonly action: OperationAction;
  readonly status: OperationStatus;
  readonly error: string | null;
  readonly failuresCount: number;
  readonly retryAt: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly totalDurationMs: number;
}

export type OperationAction =
  | 'create_timeline'
  | 'start_compute'
  | 'suspend_compute'
  | 'apply_config'
  | 'delete_timeline'
  | 'create_branch'
  | 'apply_storage_config'
  | 'timeline_archive'
  | 'timeline_unarchive';

export type OperationStatus =
  | 'scheduling'
  | 'running'
  | 'finished'
  | 'failed'
  | 'error'
  | 'cancelling'
  | 'cancelled'
  | 'skipped';

/** All that is needed to connect as a role. */
export interface ConnectionInfo {
  readonly connectionUri: string;
  readonly database: string;
  readonly role: string;
  readonly password: Secret;
  readonly host: string;
  readonly poolerHost: string;
}

export interface Snapshot {
  readonly id: SnapshotId;
  readonly projectId: ProjectId;
  readonly name: string;
  readonly lsn: string | null;
  /** RFC 3339, to the microsecond. */
  readonly timestamp: string | null;
  readonly sourceBranchId: BranchId;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly isManual: boolean;
  readonly fullBytes: number | null;
}

export interface SnapshotScheduleItem {
  readonly frequency: 'hourly' | 'daily' | 'weekly' | 'monthly' | 'yearly';
  readonly hour?: number;
  readonly day?: number;
  readonly month?: number;
  readonly retentionSeconds?: number;
}

export interface ApiKey {
  readonly id: number;
  readonly name: string;
  readonly createdAt: Date;
  readonly createdByUserId: string;
  readonly createdByName: string;
  readonly lastUsedAt: Date | null;
  readonly lastUsedFromAddress: string | null;
}

export interface User {
  readonly id: string;
  readonly email: string;
  readonly login: string;
  readonly name: string;
  readonly projectsLimit: number;
}

export interface Organization {
  readonly id: OrganizationId;
  readonly name: string;
  readonly handle: string;
  readonly plan: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
