/** A setting that a user may choose for an endpoint. */
export interface AllowedSetting {
  readonly type: 'boolean' | 'number' | 'text';
  /** `reload`: a running compute takes it over; `restart`: it takes effect at the next start. */
  readonly applies: 'reload' | 'restart';
  /** The first Postgres version that has it, if not all do. */
  readonly since?: number;
}

type Type = AllowedSetting['type'];

/**
 * Every setting that `pg_settings` of an endpoint may hold. A list of what is harmless, never of what is not: none of
 * these names a file, a program, a library or an address, weakens durability of others' data, or logs statements.
 * A test compares all of it with every Postgres that is here.
 */
export const ALLOWED_SETTINGS: Readonly<Record<string, AllowedSetting>> = {
  ...list('reload', 'number', [
    'work_mem maintenance_work_mem autovacuum_work_mem logical_decoding_work_mem temp_buffers effective_cache_size',
    'hash_mem_multiplier max_stack_depth gin_pending_list_limit gin_fuzzy_search_limit',
    'statement_timeout lock_timeout deadlock_timeout idle_in_transaction_session_timeout idle_session_timeout',
    'client_connection_check_interval tcp_user_timeout',
    'random_page_cost seq_page_cost cpu_tuple_cost cpu_index_tuple_cost cpu_operator_cost parallel_setup_cost',
    'parallel_tuple_cost min_parallel_table_scan_size min_parallel_index_scan_size effective_io_concurrency',
    'maintenance_io_concurrency default_statistics_target from_collapse_limit join_collapse_limit cursor_tuple_fraction',
    'geqo_threshold geqo_effort geqo_pool_size geqo_generations geqo_selection_bias geqo_seed',
    'max_parallel_workers max_parallel_workers_per_gather max_parallel_maintenance_workers',
    'max_sync_workers_per_subscription',
    'autovacuum_naptime autovacuum_vacuum_threshold autovacuum_vacuum_insert_threshold autovacuum_analyze_threshold',
    'autovacuum_vacuum_scale_factor autovacuum_vacuum_insert_scale_factor autovacuum_analyze_scale_factor',
    'autovacuum_vacuum_cost_delay autovacuum_vacuum_cost_limit vacuum_cost_delay vacuum_cost_limit',
    'vacuum_cost_page_hit vacuum_cost_page_miss vacuum_cost_page_dirty',
    'vacuum_freeze_min_age vacuum_freeze_table_age vacuum_multixact_freeze_min_age vacuum_multixact_freeze_table_age',
    'vacuum_failsafe_age vacuum_multixact_failsafe_age',
    'checkpoint_timeout checkpoint_completion_target commit_delay commit_siblings wal_writer_delay',
    'wal_writer_flush_after bgwriter_delay bgwriter_lru_maxpages bgwriter_lru_multiplier',
    'wal_sender_timeout wal_receiver_timeout extra_float_digits',
    'max_pred_locks_per_relation max_pred_locks_per_page',
  ]),
  ...list('reload', 'boolean', [
    'autovacuum enable_async_append enable_bitmapscan enable_gathermerge enable_hashagg enable_hashjoin',
    'enable_incremental_sort enable_indexonlyscan enable_indexscan enable_material enable_memoize enable_mergejoin',
    'enable_nestloop enable_parallel_append enable_parallel_hash enable_partition_pruning enable_partitionwise_aggregate',
    'enable_partitionwise_join enable_seqscan enable_sort enable_tidscan geqo parallel_leader_participation',
    'array_nulls quote_all_identifiers row_security standard_conforming_strings synchronize_seqscans',
    'transform_null_equals escape_string_warning lo_compat_privileges check_function_bodies',
    'default_transaction_read_only default_transaction_deferrable track_activities track_counts track_io_timing',
  ]),
  ...list('reload', 'text', [
    'timezone datestyle intervalstyle bytea_output xmloption xmlbinary default_transaction_isolation',
    'default_text_search_config search_path constraint_exclusion plan_cache_mode backslash_quote',
    'client_min_messages synchronous_commit track_functions default_toast_compression compute_query_id',
  ]),
  ...list('restart', 'number', [
    'max_prepared_transactions max_locks_per_transaction',
    'max_pred_locks_per_transaction track_activity_query_size autovacuum_max_workers autovacuum_freeze_max_age',
    'autovacuum_multixact_freeze_max_age max_logical_replication_workers',
  ]),
  ...list('reload', 'number', ['transaction_timeout'], 17),
  ...list('reload', 'number', ['vacuum_buffer_usage_limit'], 16),
};

function list(applies: AllowedSetting['applies'], type: Type, lines: readonly string[], since?: number) {
  const names = lines.join(' ').split(' ');
  return Object.fromEntries(names.map((name) => [name, { type, applies, ...(since ? { since } : {}) }]));
}
