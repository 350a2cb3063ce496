-- Searches: what is fixed of them (ingest/store/search.py, ingest/store/sealing.py). The statements themselves are put
-- together by ingest/search from constants.

-- name: run_rows
-- The runs $1 run_id[], in that order, with the name of their experiment.
SELECT r.run_id, r.experiment_id, e.name AS experiment, e.artifact_location, r.name, r.user_name, r.status, r.lifecycle,
       r.parent_run_id, r.start_time_ms, r.end_time_ms
FROM unnest($1::uuid[]) WITH ORDINALITY AS q (run_id, i)
JOIN runs AS r ON r.run_id = q.run_id
JOIN experiments AS e ON e.experiment_id = r.experiment_id
ORDER BY q.i;

-- name: params
-- $1 run_id[], $2 key[] or NULL for all of them; values cut to $3 characters.
SELECT run_id, array_agg(key) AS keys, array_agg(left(value, $3)) AS values
FROM params
WHERE run_id = ANY ($1::uuid[]) AND ($2::text[] IS NULL OR key = ANY ($2))
GROUP BY run_id;

-- name: tags
-- $1 run_id[], $2 key[] or NULL for all of them; values cut to $3 characters.
SELECT run_id, array_agg(key) AS keys, array_agg(left(value, $3)) AS values
FROM tags
WHERE run_id = ANY ($1::uuid[]) AND ($2::text[] IS NULL OR key = ANY ($2))
GROUP BY run_id;

-- name: latest
-- The latest values of $1 run_id[], of $2 key[] or NULL for all.
SELECT run_id, array_agg(key) AS keys, array_agg(last_value) AS values
FROM series
WHERE run_id = ANY ($1::uuid[]) AND ($2::text[] IS NULL OR key = ANY ($2))
GROUP BY run_id;

-- name: summaries
-- Everything that series says of $2 key[] in $1 run_id[]; NULL for all keys.
SELECT run_id, key, n, non_finite, first_value, last_value, min_value, max_value, min_step, max_step, last_step, sum_value
FROM series
WHERE run_id = ANY ($1::uuid[]) AND ($2::text[] IS NULL OR key = ANY ($2));

-- name: experiments_by_names
-- $1 name[].
SELECT name, experiment_id FROM experiments WHERE name = ANY ($1::text[]);

-- name: lock_sealing
-- One process seals at a time; held to the end of the transaction. False: another one is at it.
SELECT pg_try_advisory_xact_lock(7236828427361);

-- name: join_by_hash
-- For add_metrics and its like, in their transaction: the planner guesses a handful of keys, and where there are 20,000 a
-- nested loop took 33 s instead of 0.3.
SELECT set_config('enable_nestloop', 'off', true);

-- name: due_experiments
-- Experiments with at least $1 runs that ended and have been quiet for $2 seconds, or any quiet for $3; at most $4. A run
-- that is due stays due until it is sealed, so that nothing has to remember it.
SELECT r.experiment_id, count(*) AS runs
FROM runs AS r
WHERE r.segment_id IS NULL AND r.lifecycle = 'active' AND r.status NOT IN ('RUNNING', 'SCHEDULED')
  AND r.heartbeat_at < now() - make_interval(secs => $2::float8)
GROUP BY r.experiment_id
HAVING count(*) >= $1 OR min(r.heartbeat_at) < now() - make_interval(secs => $3::float8)
ORDER BY count(*) DESC
LIMIT $4;

-- name: count_unsealed
-- Runs that ended and are in no segment.
SELECT count(*)
FROM runs
WHERE segment_id IS NULL AND lifecycle = 'active' AND status NOT IN ('RUNNING', 'SCHEDULED');

-- name: small_segments
-- Those of $1 experiment_id with fewer than $2 runs left, smallest first.
SELECT segment_id, runs FROM search_segments WHERE experiment_id = $1 AND runs < $2 ORDER BY runs, segment_id;

-- name: lock_runs
-- Locks up to $3 runs of $1 experiment_id that ended and have been quiet for $2 seconds, oldest first. Nobody is waited
-- for: who holds a run's row is about to change it.
SELECT run_id
FROM runs
WHERE experiment_id = $1 AND segment_id IS NULL AND lifecycle = 'active' AND status NOT IN ('RUNNING', 'SCHEDULED')
  AND heartbeat_at < now() - make_interval(secs => $2::float8)
ORDER BY start_time_ms, run_id
LIMIT $3
FOR NO KEY UPDATE SKIP LOCKED;

-- name: lock_sealed_runs
-- Locks the runs of $1 segment_id[] that can be had.
SELECT run_id, segment_id FROM runs WHERE segment_id = ANY ($1::bigint[]) FOR NO KEY UPDATE SKIP LOCKED;

-- name: lock_writers
-- Locks the writers of $1 run_id[] that can be had: a batch of a locked writer waits, and then finds the seal.
SELECT run_id FROM writers WHERE run_id = ANY ($1::uuid[]) FOR NO KEY UPDATE SKIP LOCKED;

-- name: count_writers
-- How many writers each of $1 run_id[] has. In a statement of its own, after lock_writers: a run with more writers than
-- were locked is left alone.
SELECT run_id, count(*) AS writers FROM writers WHERE run_id = ANY ($1::uuid[]) GROUP BY run_id;

-- name: distinct_keys
-- How many different metrics the runs $1 have.
SELECT count(DISTINCT key) AS keys FROM series WHERE run_id = ANY ($1::uuid[]);

-- name: drop_segments
-- $1 segment_id[].
WITH metrics AS (
    DELETE FROM search_metrics WHERE segment_id = ANY ($1::bigint[])
), params AS (
    DELETE FROM search_params WHERE segment_id = ANY ($1::bigint[])
), tags AS (
    DELETE FROM search_tags WHERE segment_id = ANY ($1::bigint[])
)
DELETE FROM search_segments WHERE segment_id = ANY ($1::bigint[]);

-- name: add_segment
-- $1 experiment_id, $2 run_id[], in the order in which they are to stand.
INSERT INTO search_segments (experiment_id, runs, run_id, start_time_ms, end_time_ms, name, user_name, status, parent_run_id)
SELECT $1, count(*), array_agg(r.run_id ORDER BY q.i), array_agg(r.start_time_ms ORDER BY q.i),
       array_agg(r.end_time_ms ORDER BY q.i), array_agg(r.name ORDER BY q.i), array_agg(r.user_name ORDER BY q.i),
       array_agg(r.status ORDER BY q.i), array_agg(r.parent_run_id ORDER BY q.i)
FROM unnest($2::uuid[]) WITH ORDINALITY AS q (run_id, i)
JOIN runs AS r ON r.run_id = q.run_id
RETURNING segment_id;

-- name: add_metrics
-- $1 segment_id, $2 run_id[] in the order of the segment. Every key gets arrays as long as the segment: place i is NULL
-- where run i lacks the key. run_id = ANY says again what the join says: without it the planner reads the whole of series.
INSERT INTO search_metrics (segment_id, key, last_value, min_value, max_value, first_value, sum_value, n, non_finite,
                            min_step, max_step, last_step)
SELECT $1, k.key, array_agg(s.last_value ORDER BY q.i), array_agg(s.min_value ORDER BY q.i),
       array_agg(s.max_value ORDER BY q.i), array_agg(s.first_value ORDER BY q.i), array_agg(s.sum_value ORDER BY q.i),
       array_agg(s.n ORDER BY q.i), array_agg(s.non_finite ORDER BY q.i), array_agg(s.min_step ORDER BY q.i),
       array_agg(s.max_step ORDER BY q.i), array_agg(s.last_step ORDER BY q.i)
FROM (SELECT DISTINCT key FROM series WHERE run_id = ANY ($2::uuid[])) AS k
CROSS JOIN unnest($2::uuid[]) WITH ORDINALITY AS q (run_id, i)
LEFT JOIN series AS s ON s.run_id = q.run_id AND s.key = k.key AND s.run_id = ANY ($2::uuid[])
GROUP BY k.key;

-- name: add_params
-- $1 segment_id, $2 run_id[], $3 characters to keep.
INSERT INTO search_params (segment_id, key, value)
SELECT $1, k.key, array_agg(left(p.value, $3) ORDER BY q.i)
FROM (SELECT DISTINCT key FROM params WHERE run_id = ANY ($2::uuid[])) AS k
CROSS JOIN unnest($2::uuid[]) WITH ORDINALITY AS q (run_id, i)
LEFT JOIN params AS p ON p.run_id = q.run_id AND p.key = k.key AND p.run_id = ANY ($2::uuid[])
GROUP BY k.key;

-- name: add_tags
-- $1 segment_id, $2 run_id[], $3 characters to keep.
INSERT INTO search_tags (segment_id, key, value)
SELECT $1, k.key, array_agg(left(t.value, $3) ORDER BY q.i)
FROM (SELECT DISTINCT key FROM tags WHERE run_id = ANY ($2::uuid[])) AS k
CROSS JOIN unnest($2::uuid[]) WITH ORDINALITY AS q (run_id, i)
LEFT JOIN tags AS t ON t.run_id = q.run_id AND t.key = k.key AND t.run_id = ANY ($2::uuid[])
GROUP BY k.key;

-- name: mark_sealed
-- $1 run_id[], $2 segment_id.
WITH of_runs AS (
    UPDATE writers SET is_sealed = true WHERE run_id = ANY ($1::uuid[]) AND NOT is_sealed
)
UPDATE runs SET segment_id = $2 WHERE run_id = ANY ($1::uuid[]);

-- name: unseal
-- $1 run_id[]. See the function.
SELECT unseal($1::uuid[]);

-- name: open_runs_count
-- Runs that searches read one by one.
SELECT count(*) FROM runs WHERE segment_id IS NULL AND lifecycle = 'active';
