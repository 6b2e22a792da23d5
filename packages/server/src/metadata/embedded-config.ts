/** Nobody comes without a password, nobody comes by network, nobody replicates. */
export const EMBEDDED_HBA = 'local all all scram-sha-256\n';

/**
 * The whole postgresql.conf of the embedded metadata Postgres, written at every start. Small in memory and quiet while
 * nothing happens; durable, since the metadata is what nobody can make again.
 */
export function embeddedConfig(socketDir: string): string {
  return `# Written by Tenantry at every start.
cluster_name = 'tenantry metadata'
listen_addresses = ''
unix_socket_directories = '${socketDir.replaceAll("'", "''")}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
fsync = on
synchronous_commit = on
max_connections = 30
shared_buffers = '32MB'
huge_pages = off
work_mem = '2MB'
maintenance_work_mem = '16MB'
temp_buffers = '1MB'
wal_buffers = '1MB'
min_wal_size = '32MB'
max_wal_size = '256MB'
checkpoint_timeout = '15min'
max_worker_processes = 2
max_parallel_workers_per_gather = 0
max_parallel_maintenance_workers = 0
max_logical_replication_workers = 0
max_wal_senders = 0
autovacuum_max_workers = 1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
log_line_prefix = '%m [%p] '
`;
}
