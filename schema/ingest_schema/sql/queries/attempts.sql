-- Taking superseded points off the summaries of resumed runs (ingest/store/attempts.py).

-- name: due
-- Resumed runs that are not settled as they stand. $1 at most.
SELECT w.run_id, r.attempt, sum(w.points)::bigint AS points
FROM (SELECT run_id, max(attempt) AS attempt FROM writers WHERE resume_from_step IS NOT NULL GROUP BY run_id) AS r
JOIN writers AS w ON w.run_id = r.run_id AND w.attempt < r.attempt
LEFT JOIN settled_attempts AS s ON s.run_id = r.run_id
GROUP BY w.run_id, r.attempt, s.attempt, s.points
HAVING (s.attempt, s.points) IS DISTINCT FROM (r.attempt, sum(w.points)::bigint)
LIMIT $1;

-- name: keys
-- Metrics of $1 run_id after $2 key that reach beyond $3 step. $4 at most.
SELECT key FROM series WHERE run_id = $1 AND key > $2 AND last_step > $3 ORDER BY key LIMIT $4;

-- name: lock_run
SELECT unseal(ARRAY[run_id]) FROM runs WHERE run_id = $1 FOR NO KEY UPDATE;

-- name: lock_series
-- In the order in which batches lock them. $1 run_id, $2 key[].
SELECT key FROM series WHERE run_id = $1 AND key = ANY ($2::text[]) ORDER BY key FOR UPDATE;

-- name: set_series
-- What the points that count amount to. The rows are locked.
UPDATE series
SET n = $3, non_finite = $4, first_step = $5, first_time_ms = $6, first_value = $7, last_step = $8, last_time_ms = $9,
    last_value = $10, min_value = $11, max_value = $12, min_step = $13, max_step = $14, sum_value = $15
WHERE run_id = $1 AND key = $2;

-- name: drop_series
-- No point of it counts; the next one makes it anew.
DELETE FROM series WHERE run_id = $1 AND key = $2;

-- name: settled
INSERT INTO settled_attempts (run_id, attempt, points) VALUES ($1, $2, $3)
ON CONFLICT (run_id) DO UPDATE SET attempt = excluded.attempt, points = excluded.points;
