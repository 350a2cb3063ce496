-- Deleting for good (ingest/store/gone.py): what is due, closing a run, and its rows step by step.
-- Every statement on a run's tables names run_id. Rows of the points are taken by key and step, so that a step does not go over what
-- the steps before it left dead in the index.

-- name: take_turn
-- Whether this session now is the one that deletes. $1 the lock's number.
SELECT pg_try_advisory_lock($1);

-- name: impatient
-- Nobody waits long for us, nor in a circle: a lock that does not come in time ends the transaction. $1 milliseconds.
SELECT set_config('lock_timeout', $1::text, true);

-- name: experiment_id
-- By name, else by id. $1 either.
SELECT experiment_id FROM experiments WHERE name = $1 OR experiment_id::text = $1 ORDER BY name = $1 DESC LIMIT 1;

-- name: due_runs
-- Runs deleted $2 seconds ago or earlier, after $1 run_id; of $3 experiment_id and only $4 run_id, NULL for any. At most $5.
-- is_registered: a version of a registered model has its files there.
SELECT r.run_id, r.experiment_id, r.name,
       EXISTS (SELECT 1 FROM model_versions AS v
               WHERE v.storage_location LIKE '%/' || replace(r.run_id::text, '-', '') || '/%') AS is_registered
FROM runs AS r
WHERE r.lifecycle = 'deleted' AND r.run_id > $1 AND COALESCE(r.deleted_at, '-infinity') <= now() - make_interval(secs => $2)
  AND ($3::bigint IS NULL OR r.experiment_id = $3) AND ($4::uuid IS NULL OR r.run_id = $4)
ORDER BY r.run_id
LIMIT $5;

-- name: unfinished_runs
-- Runs that were closed and of which something may be left, after $1; of $2 experiment_id and only $3 run_id. At most $4.
SELECT g.run_id, g.experiment_id, COALESCE(r.name, '') AS name
FROM gone_runs AS g
LEFT JOIN runs AS r ON r.run_id = g.run_id
WHERE NOT g.is_done AND g.run_id > $1
  AND ($2::bigint IS NULL OR g.experiment_id = $2) AND ($3::uuid IS NULL OR g.run_id = $3)
ORDER BY g.run_id
LIMIT $4;

-- name: lately_gone
-- Runs that went in the last $1 seconds, after $2 run_id: an upload that was under way may have left a file. At most $3.
SELECT run_id, experiment_id
FROM gone_runs
WHERE is_done AND gone_at > now() - make_interval(secs => $1) AND run_id > $2
ORDER BY run_id
LIMIT $3;

-- name: close_writers
-- Batches of these writers are claimed no more: none has this number for its predecessor. $1 run_id.
WITH locked AS (
    SELECT run_id, writer_id FROM writers WHERE run_id = $1 ORDER BY writer_id FOR UPDATE
)
UPDATE writers AS w SET last_seq = 9223372036854775807
FROM locked AS l
WHERE w.run_id = l.run_id AND w.writer_id = l.writer_id AND w.last_seq < 9223372036854775807;

-- name: lock_deleted
-- The run, if it is deleted and was so $2 seconds ago. $1 run_id.
SELECT experiment_id
FROM runs AS r
WHERE run_id = $1 AND lifecycle = 'deleted'
  AND NOT EXISTS (SELECT 1 FROM model_versions AS v
                  WHERE v.storage_location LIKE '%/' || replace(r.run_id::text, '-', '') || '/%')
  AND COALESCE(deleted_at, '-infinity') <= now() - make_interval(secs => $2)
FOR UPDATE;

-- name: open_writers
-- Whether a writer of $1 run_id was not closed: it came between close_writers and the lock on the run.
SELECT EXISTS (SELECT 1 FROM writers WHERE run_id = $1 AND last_seq < 9223372036854775807);

-- name: close_run
-- $1 run_id, $2 experiment_id.
INSERT INTO gone_runs (run_id, experiment_id) VALUES ($1, $2) ON CONFLICT (run_id) DO NOTHING;

-- name: unseal
SELECT unseal(ARRAY[$1::uuid]);

-- name: delete_metric_chunks
-- Up to $4 chunks of $1 run_id from ($2 key, $3 lo_step) on, but those that compaction holds. The size is that of the arrays as
-- they are stored, and about that of the rest.
WITH chosen AS MATERIALIZED (
    SELECT ctid AS tid, key, lo_step
    FROM metric_chunks
    WHERE run_id = $1 AND (key, lo_step) >= ($2::text, $3::bigint)
    ORDER BY key, lo_step
    LIMIT $4
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM metric_chunks
    WHERE run_id = $1 AND ctid = ANY (ARRAY(SELECT tid FROM chosen))
    RETURNING n, 200 + pg_column_size(steps) + pg_column_size(times_ms) + pg_column_size("values") AS size_bytes
)
SELECT g.*, l.key, l.lo_step
FROM (SELECT count(*) AS row_count, COALESCE(sum(n), 0)::bigint AS points, COALESCE(sum(size_bytes), 0)::bigint AS size_bytes
      FROM gone) AS g
LEFT JOIN (SELECT key, lo_step FROM chosen ORDER BY key DESC, lo_step DESC LIMIT 1) AS l ON true;

-- name: delete_packed_chunks
-- Likewise.
WITH chosen AS MATERIALIZED (
    SELECT ctid AS tid, key, lo_step
    FROM packed_chunks
    WHERE run_id = $1 AND (key, lo_step) >= ($2::text, $3::bigint)
    ORDER BY key, lo_step
    LIMIT $4
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM packed_chunks
    WHERE run_id = $1 AND ctid = ANY (ARRAY(SELECT tid FROM chosen))
    RETURNING n, 200 + COALESCE(pg_column_size(steps), 0) + COALESCE(pg_column_size(times_ms), 0)
                 + COALESCE(pg_column_size(time_residuals), 0) + COALESCE(pg_column_size(blocks), 0)
                 + pg_column_size("values") AS size_bytes
)
SELECT g.*, l.key, l.lo_step
FROM (SELECT count(*) AS row_count, COALESCE(sum(n), 0)::bigint AS points, COALESCE(sum(size_bytes), 0)::bigint AS size_bytes
      FROM gone) AS g
LEFT JOIN (SELECT key, lo_step FROM chosen ORDER BY key DESC, lo_step DESC LIMIT 1) AS l ON true;

-- name: has_chunks
SELECT EXISTS (SELECT 1 FROM metric_chunks WHERE run_id = $1) OR EXISTS (SELECT 1 FROM packed_chunks WHERE run_id = $1);

-- name: delete_series
-- Up to $2 rows of $1 run_id; so the next ones.
DELETE FROM series WHERE run_id = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM series WHERE run_id = $1 LIMIT $2));

-- name: delete_params
DELETE FROM params WHERE run_id = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM params WHERE run_id = $1 LIMIT $2));

-- name: delete_tags
DELETE FROM tags WHERE run_id = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM tags WHERE run_id = $1 LIMIT $2));

-- name: delete_run_datasets
DELETE FROM run_datasets WHERE run_id = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM run_datasets WHERE run_id = $1 LIMIT $2));

-- name: delete_run_models
DELETE FROM run_models WHERE run_id = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM run_models WHERE run_id = $1 LIMIT $2));

-- name: delete_settled_attempts
DELETE FROM settled_attempts
WHERE run_id = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM settled_attempts WHERE run_id = $1 LIMIT $2));

-- name: delete_writers
DELETE FROM writers WHERE run_id = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM writers WHERE run_id = $1 LIMIT $2));

-- name: delete_run
-- With what imports told of it.
WITH told AS (DELETE FROM imported WHERE kind = 'run' AND id = replace($1::uuid::text, '-', ''))
DELETE FROM runs WHERE run_id = $1;

-- name: run_is_gone
UPDATE gone_runs SET is_done = true WHERE run_id = $1;

-- name: sizes
-- What a run holds, for a dry run. $1 run_id.
SELECT (SELECT count(*) FROM series WHERE run_id = $1) AS series,
       c.points + p.points AS points, c.row_count + p.row_count AS row_count, c.size_bytes + p.size_bytes AS size_bytes
FROM (SELECT COALESCE(sum(n), 0)::bigint AS points, count(*) AS row_count,
             COALESCE(sum(200 + pg_column_size(steps) + pg_column_size(times_ms) + pg_column_size("values")), 0)::bigint
                 AS size_bytes
      FROM metric_chunks WHERE run_id = $1) AS c
CROSS JOIN (SELECT COALESCE(sum(n), 0)::bigint AS points, count(*) AS row_count,
                   COALESCE(sum(200 + COALESCE(pg_column_size(steps), 0) + COALESCE(pg_column_size(times_ms), 0)
                                + COALESCE(pg_column_size(time_residuals), 0) + COALESCE(pg_column_size(blocks), 0)
                                + pg_column_size("values")), 0)::bigint AS size_bytes
            FROM packed_chunks WHERE run_id = $1) AS p;

-- name: due_experiments
-- Experiments deleted $2 seconds ago or earlier, after $1; only $3, NULL for any. At most $4. Default (0) stays: runs without
-- another home go there. is_needed: it stays as long as a run is left, deleted or not, or a registered model has its files there.
SELECT e.experiment_id, e.name,
       EXISTS (SELECT 1 FROM runs AS r WHERE r.experiment_id = e.experiment_id)
       OR EXISTS (SELECT 1 FROM model_versions AS v
                  WHERE v.storage_location LIKE '%/' || e.experiment_id || '/models/%') AS is_needed
FROM experiments AS e
WHERE e.lifecycle = 'deleted' AND e.experiment_id > GREATEST($1::bigint, 0)
  AND e.updated_at_ms <= (extract(epoch FROM now()) * 1000)::bigint - ($2::float8 * 1000)::bigint
  AND ($3::bigint IS NULL OR e.experiment_id = $3)
ORDER BY e.experiment_id
LIMIT $4;

-- name: due_models
-- Logged models deleted $2 seconds ago or earlier, after $1 model_id, of $3 experiment_id, NULL for any, that no registered version
-- was made of. At most $4.
SELECT m.model_id, m.experiment_id, m.name
FROM logged_models AS m
WHERE m.lifecycle = 'deleted' AND m.model_id > $1
  AND m.updated_at_ms <= (extract(epoch FROM now()) * 1000)::bigint - ($2::float8 * 1000)::bigint
  AND ($3::bigint IS NULL OR m.experiment_id = $3)
  AND NOT EXISTS (SELECT 1 FROM model_versions AS v WHERE v.storage_location LIKE '%/models/' || m.model_id || '/%')
ORDER BY m.model_id
LIMIT $4;

-- name: delete_model
-- Its metrics go with it. $1 model_id.
DELETE FROM logged_models WHERE model_id = $1 AND lifecycle = 'deleted';

-- name: delete_models_of_experiment
DELETE FROM logged_models WHERE experiment_id = $1;

-- name: delete_experiment
-- Its tags, data sets and logged models go with it. No row: it was restored, or got a run. $1 experiment_id.
WITH gone AS (
    DELETE FROM experiments
    WHERE experiment_id = $1 AND lifecycle = 'deleted' AND NOT EXISTS (SELECT 1 FROM runs WHERE experiment_id = $1)
      AND NOT EXISTS (SELECT 1 FROM model_versions WHERE storage_location LIKE '%/' || $1::bigint || '/models/%')
    RETURNING experiment_id
)
INSERT INTO gone_experiments (experiment_id) SELECT experiment_id FROM gone RETURNING experiment_id;

-- name: unfinished_experiments
SELECT experiment_id FROM gone_experiments WHERE NOT is_done ORDER BY experiment_id LIMIT $1;

-- name: experiment_is_gone
UPDATE gone_experiments SET is_done = true WHERE experiment_id = $1;

-- name: empty_segments
-- Of searches, whose runs have all left. At most $1.
SELECT segment_id FROM search_segments WHERE runs = 0 ORDER BY segment_id LIMIT $1;

-- name: gentle
-- Of this session's VACUUM: it rests after each 80 MB/s or so of pages that it changes, as autovacuum does, since what it writes to
-- the log stands before the commits of batches.
SELECT set_config('vacuum_cost_delay', '2ms', false), set_config('vacuum_cost_limit', '400', false);

-- name: vacuum
-- Makes the space of what was deleted free for new points at once. It cuts no file: for that it would lock the table against every
-- batch, until all that was logged so far is on the disk.
VACUUM (TRUNCATE false) metric_chunks, packed_chunks, series;
