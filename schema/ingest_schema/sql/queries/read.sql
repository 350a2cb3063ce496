-- The read path of our own API: listings by keyset, so that a page costs the same however far it is, and raw points by
-- chunk. Every query on a run's tables names run_id.

-- name: experiments
-- In the order of their ids, after $1; at most $2; lifecycle in $3.
SELECT experiment_id, name, artifact_location, lifecycle, created_at_ms, updated_at_ms
FROM experiments
WHERE experiment_id > $1 AND lifecycle = ANY ($3::text[])
ORDER BY experiment_id
LIMIT $2;

-- name: experiment
-- $1 experiment_id.
SELECT experiment_id, name, artifact_location, lifecycle, created_at_ms, updated_at_ms
FROM experiments
WHERE experiment_id = $1;

-- name: experiment_id_by_name
SELECT experiment_id FROM experiments WHERE name = $1;

-- name: experiment_tags
-- $1 experiment_id[].
SELECT experiment_id, key, value FROM experiment_tags WHERE experiment_id = ANY ($1::bigint[]) ORDER BY experiment_id, key;

-- name: rules_of_experiments
-- Of $1 experiment_id[].
SELECT experiment_id, delete_after_days, thin_after_days, thin_to, keep_tag
FROM retention_rules
WHERE experiment_id = ANY ($1::bigint[]);

-- name: newest_runs
-- Before ($1 start_time_ms, $2 run_id); at most $3; lifecycle in $4.
SELECT r.run_id, r.experiment_id, e.name AS experiment, r.name, r.user_name, r.status, r.lifecycle, r.parent_run_id,
       r.start_time_ms, r.end_time_ms, r.heartbeat_at, r.thinned_at
FROM runs AS r
JOIN experiments AS e USING (experiment_id)
WHERE (r.start_time_ms < $1 OR (r.start_time_ms = $1 AND r.run_id > $2)) AND r.start_time_ms <= $1
  AND r.lifecycle = ANY ($4::text[])
ORDER BY r.start_time_ms DESC, r.run_id
LIMIT $3;

-- name: newest_runs_of_experiment
-- As newest_runs, of experiment $5.
SELECT r.run_id, r.experiment_id, e.name AS experiment, r.name, r.user_name, r.status, r.lifecycle, r.parent_run_id,
       r.start_time_ms, r.end_time_ms, r.heartbeat_at, r.thinned_at
FROM runs AS r
JOIN experiments AS e USING (experiment_id)
WHERE r.experiment_id = $5 AND (r.start_time_ms < $1 OR (r.start_time_ms = $1 AND r.run_id > $2))
  AND r.start_time_ms <= $1 AND r.lifecycle = ANY ($4::text[])
ORDER BY r.start_time_ms DESC, r.run_id
LIMIT $3;

-- name: run
-- $1 run_id.
SELECT r.run_id, r.experiment_id, e.name AS experiment, r.name, r.user_name, r.status, r.lifecycle, r.parent_run_id,
       r.start_time_ms, r.end_time_ms, r.heartbeat_at, r.thinned_at
FROM runs AS r
JOIN experiments AS e USING (experiment_id)
WHERE r.run_id = $1;

-- name: params_of_run
SELECT key, value FROM params WHERE run_id = $1 ORDER BY key LIMIT $2;

-- name: tags_of_run
SELECT key, value FROM tags WHERE run_id = $1 ORDER BY key LIMIT $2;

-- name: writers_of_run
SELECT writer_id, rank, world_size, local_rank, host, pid, client, attempt, resume_from_step, last_seq, points,
       started_at_ms, ended_at_ms, heartbeat_at, stats
FROM writers
WHERE run_id = $1
ORDER BY attempt, rank, writer_id
LIMIT $2;

-- name: run_exists
SELECT EXISTS (SELECT 1 FROM runs WHERE run_id = $1);

-- name: series_of_run
-- $1 run_id; keys after $2; at most $3; of keys like $4 and matching $5, each NULL for any.
SELECT key, n, non_finite, first_step, first_time_ms, first_value, last_step, last_time_ms, last_value,
       min_value, min_step, max_value, max_step, sum_value
FROM series
WHERE run_id = $1 AND key > $2 AND ($4::text IS NULL OR key ILIKE $4) AND ($5::text IS NULL OR key ~ $5)
ORDER BY key
LIMIT $3;

-- name: series
-- $1 run_id, $2 key.
SELECT key, n, non_finite, first_step, first_time_ms, first_value, last_step, last_time_ms, last_value,
       min_value, min_step, max_value, max_step, sum_value
FROM series
WHERE run_id = $1 AND key = $2;

-- name: chunks_from_step
-- The chunks of $1 run_id, $2 key that hold a step from $3 on, in the order of their lowest step; arrays in binary form.
SELECT false AS is_packed, n, lo_step, NULL::bigint AS step_gap, lo_time_ms, hi_time_ms, array_send(steps) AS steps,
       array_send(times_ms) AS times_ms, NULL::bytea AS time_residuals, array_send("values") AS "values"
FROM metric_chunks
WHERE run_id = $1 AND key = $2 AND hi_step >= $3
UNION ALL
SELECT true, n, lo_step, step_gap, lo_time_ms, hi_time_ms, array_send(steps),
       array_send(times_ms), array_send(time_residuals), array_send("values")
FROM packed_chunks
WHERE run_id = $1 AND key = $2 AND hi_step >= $3
ORDER BY lo_step;
