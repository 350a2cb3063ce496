-- The write path: everything that one commit group does, in the order in which it does it.
-- Deadlocks are impossible because every transaction takes row locks table by table in the order of this file, and
-- within a table in the order of its key. Every statement on a run's tables names run_id.

-- name: claim_batches
-- Moves last_seq of each writer by one, creating the writer with its first batch. Rows that come back are claimed;
-- the others are repeats or gaps. $1 run_id[], $2 writer_id[], $3 seq[], $4 points[]; at most one batch a writer.
INSERT INTO writers AS w (run_id, writer_id, last_seq, points)
SELECT b.run_id, b.writer_id, b.seq, b.points
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) AS b (run_id, writer_id, seq, points)
WHERE b.seq = 1
   OR EXISTS (SELECT 1 FROM writers AS x WHERE x.run_id = b.run_id AND x.writer_id = b.writer_id)
ORDER BY b.run_id, b.writer_id
ON CONFLICT (run_id, writer_id) DO UPDATE
SET last_seq = excluded.last_seq, points = w.points + excluded.points, heartbeat_at = now()
WHERE w.last_seq = excluded.last_seq - 1
RETURNING w.run_id, w.writer_id, w.is_sealed;

-- name: unseal
-- Runs at rest that are written to again leave the segments of searches (migration 0003). $1 run_id[], and $2 writer_id[]
-- of the same runs where the writer was sealed.
WITH open AS (
    UPDATE writers AS w SET is_sealed = false
    FROM unnest($1::uuid[], $2::uuid[]) AS b (run_id, writer_id)
    WHERE w.run_id = b.run_id AND w.writer_id = b.writer_id AND w.is_sealed
)
SELECT unseal($1::uuid[]);

-- name: last_seqs
-- Where writers stand, to tell a repeat from a gap. $1 run_id[], $2 writer_id[].
SELECT w.run_id, w.writer_id, w.last_seq
FROM unnest($1::uuid[], $2::uuid[]) AS b (run_id, writer_id)
JOIN writers AS w ON w.run_id = b.run_id AND w.writer_id = b.writer_id;

-- name: gone_runs
-- Those of $1 run_id[] that were deleted for good (ingest/store/gone.py).
SELECT run_id FROM gone_runs WHERE run_id = ANY ($1::uuid[]);

-- name: experiments_by_name
-- $1 name[]; they stay until COMMIT: a start must not land in an experiment that is deleted for good meanwhile.
SELECT name, experiment_id FROM experiments WHERE name = ANY ($1::text[]) FOR KEY SHARE;

-- name: create_experiments
-- $1 name[]; $2 now in ms.
INSERT INTO experiments (name, created_at_ms, updated_at_ms)
SELECT e.name, $2::bigint, $2::bigint
FROM unnest($1::text[]) AS e (name)
ORDER BY e.name COLLATE "C"
ON CONFLICT (name) DO NOTHING;

-- name: known_experiments
-- Those of $1 experiment_id[] that exist, and do until COMMIT.
SELECT experiment_id FROM experiments WHERE experiment_id = ANY ($1::bigint[]) FOR KEY SHARE;

-- name: open_runs
-- Creates runs that are not there, and locks all of them in order, so that whatever else their events change has one
-- owner until COMMIT. One statement for every run of the group that has an event, else the order would break.
-- xmax is 0 in a row that this statement inserted. $1 run_id[], $2 experiment_id[], $3 name[], $4 user_name[], $5 parent_run_id[], $6 start_time_ms[].
INSERT INTO runs AS r (run_id, experiment_id, name, user_name, parent_run_id, start_time_ms)
SELECT b.run_id, b.experiment_id, b.name, b.user_name, b.parent_run_id, b.start_time_ms
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::bigint[])
    AS b (run_id, experiment_id, name, user_name, parent_run_id, start_time_ms)
ORDER BY b.run_id
ON CONFLICT (run_id) DO UPDATE SET heartbeat_at = now()
RETURNING r.run_id, r.status, r.end_time_ms, r.xmax = 0 AS is_new, r.segment_id IS NOT NULL AS is_sealed;

-- name: set_run_states
-- $1 run_id[], $2 status[], $3 end_time_ms[]; the rows are locked already.
UPDATE runs AS r
SET status = b.status, end_time_ms = b.end_time_ms
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS b (run_id, status, end_time_ms)
WHERE r.run_id = b.run_id;

-- name: writers_of_runs
-- $1 run_id[]; the runs' rows are locked, so that nobody else opens an attempt meanwhile.
SELECT run_id, writer_id, rank, world_size, attempt, resume_from_step, started_at_ms, ended_at_ms, end_status
FROM writers
WHERE run_id = ANY ($1::uuid[]) AND started_at_ms IS NOT NULL;

-- name: describe_writers
-- NULL leaves a column as it is. The rows are locked already by claim_batches.
UPDATE writers AS w
SET rank = COALESCE(b.rank, w.rank),
    world_size = COALESCE(b.world_size, w.world_size),
    local_rank = COALESCE(b.local_rank, w.local_rank),
    host = COALESCE(b.host, w.host),
    pid = COALESCE(b.pid, w.pid),
    client = COALESCE(b.client, w.client),
    attempt = COALESCE(b.attempt, w.attempt),
    resume_from_step = COALESCE(b.resume_from_step, w.resume_from_step),
    started_at_ms = COALESCE(b.started_at_ms, w.started_at_ms),
    ended_at_ms = COALESCE(b.ended_at_ms, w.ended_at_ms),
    stats = COALESCE(b.stats::jsonb, w.stats),
    end_status = COALESCE(b.end_status, w.end_status)
FROM unnest(
    $1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::int[], $6::text[], $7::bigint[], $8::text[],
    $9::int[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[]
) AS b (
    run_id, writer_id, rank, world_size, local_rank, host, pid, client,
    attempt, resume_from_step, started_at_ms, ended_at_ms, stats, end_status
)
WHERE w.run_id = b.run_id AND w.writer_id = b.writer_id;

-- name: add_params
-- Params are written once: a row that comes back was new. $1 run_id[], $2 key[], $3 value[].
INSERT INTO params (run_id, key, value)
SELECT b.run_id, b.key, b.value
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS b (run_id, key, value)
ORDER BY b.run_id, b.key COLLATE "C"
ON CONFLICT (run_id, key) DO NOTHING
RETURNING run_id, key;

-- name: params_that_differ
-- Those of $1 run_id[], $2 key[], $3 value[] that are stored with another value.
SELECT p.run_id, p.key
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS b (run_id, key, value)
JOIN params AS p ON p.run_id = b.run_id AND p.key = b.key
WHERE p.value <> b.value;

-- name: set_tags
-- $1 run_id[], $2 key[], $3 value[]. The tag of the parent is a column, too, which says what the tag says: an id, or NULL for any
-- other text. Whoever sets it holds the run's row, or takes it here, before any tag.
WITH parents AS (
    UPDATE runs AS r
    SET parent_run_id = CASE WHEN length(b.value) IN (32, 36) AND replace(b.value, '-', '') ~ '^[0-9a-fA-F]{32}$'
                             THEN replace(b.value, '-', '')::uuid END
    FROM unnest($1::uuid[], $2::text[], $3::text[]) AS b (run_id, key, value)
    WHERE r.run_id = b.run_id AND b.key = 'mlflow.parentRunId'
)
INSERT INTO tags (run_id, key, value)
SELECT b.run_id, b.key, b.value
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS b (run_id, key, value)
ORDER BY b.run_id, b.key COLLATE "C"
ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value;

-- name: delete_tags
-- $1 run_id[], $2 key[]; their runs' rows are locked, so that the order among tags does not matter. The tag of the parent is a
-- column, too.
WITH parents AS (
    UPDATE runs AS r SET parent_run_id = NULL
    FROM unnest($1::uuid[], $2::text[]) AS b (run_id, key)
    WHERE r.run_id = b.run_id AND b.key = 'mlflow.parentRunId'
)
DELETE FROM tags AS t
USING unnest($1::uuid[], $2::text[]) AS b (run_id, key)
WHERE t.run_id = b.run_id AND t.key = b.key;

-- name: create_series_stage
-- Where the summaries of one group stand on their way into series; one for each connection. Not for pgbouncer's
-- transaction mode, where a session's temporary table is not there the next time.
CREATE TEMPORARY TABLE IF NOT EXISTS series_stage (LIKE ingest.series) ON COMMIT DELETE ROWS;

-- name: merge_series_stage
-- One row for each (run_id, key) of the group, merged into series in key order. Latest is by (step, time, value with NaN
-- as 0), first by (step, time); the earlier of equals stays.
INSERT INTO series AS s (
    run_id, key, n, non_finite, first_step, first_time_ms, first_value, last_step, last_time_ms, last_value,
    min_value, max_value, min_step, max_step, sum_value
)
SELECT run_id, key, n, non_finite, first_step, first_time_ms, first_value, last_step, last_time_ms, last_value,
       min_value, max_value, min_step, max_step, sum_value
FROM series_stage
ORDER BY run_id, key COLLATE "C"
ON CONFLICT (run_id, key) DO UPDATE
SET n = s.n + excluded.n,
    non_finite = s.non_finite + excluded.non_finite,
    sum_value = ingest.ieee_sum(s.sum_value, excluded.sum_value),
    first_step = LEAST(s.first_step, excluded.first_step),
    first_time_ms = CASE WHEN (excluded.first_step, excluded.first_time_ms) < (s.first_step, s.first_time_ms)
                         THEN excluded.first_time_ms ELSE s.first_time_ms END,
    first_value = CASE WHEN (excluded.first_step, excluded.first_time_ms) < (s.first_step, s.first_time_ms)
                       THEN excluded.first_value ELSE s.first_value END,
    last_step = GREATEST(s.last_step, excluded.last_step),
    last_time_ms = CASE WHEN (excluded.last_step, excluded.last_time_ms) > (s.last_step, s.last_time_ms)
                        THEN excluded.last_time_ms ELSE s.last_time_ms END,
    last_value = CASE WHEN (excluded.last_step, excluded.last_time_ms, COALESCE(NULLIF(excluded.last_value, 'NaN'), 0))
                         > (s.last_step, s.last_time_ms, COALESCE(NULLIF(s.last_value, 'NaN'), 0))
                      THEN excluded.last_value ELSE s.last_value END,
    min_step = CASE WHEN excluded.min_value < s.min_value OR s.min_value IS NULL THEN excluded.min_step
                    WHEN excluded.min_value = s.min_value THEN LEAST(s.min_step, excluded.min_step)
                    ELSE s.min_step END,
    max_step = CASE WHEN excluded.max_value > s.max_value OR s.max_value IS NULL THEN excluded.max_step
                    WHEN excluded.max_value = s.max_value THEN LEAST(s.max_step, excluded.max_step)
                    ELSE s.max_step END,
    min_value = LEAST(s.min_value, excluded.min_value),
    max_value = GREATEST(s.max_value, excluded.max_value);

-- name: series_values
-- Stands for series_stage in merge_series_stage when the group is small: below a few hundred rows a COPY into the stage
-- and its truncation at COMMIT cost more (1.7 against 1.0 ms at 100 rows) than they save.
unnest(
    $1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::float8[], $8::bigint[],
    $9::bigint[], $10::float8[], $11::float8[], $12::float8[], $13::bigint[], $14::bigint[], $15::float8[]
) AS b (
    run_id, key, n, non_finite, first_step, first_time_ms, first_value, last_step, last_time_ms, last_value,
    min_value, max_value, min_step, max_step, sum_value
);
