-- Retention rules, and what they lead to (ingest/store/retention.py, ingest/store/thinning.py).

-- name: set_rule
-- $1 experiment_id, $2 delete_after_days, $3 thin_after_days, $4 thin_to, $5 keep_tag.
INSERT INTO retention_rules (experiment_id, delete_after_days, thin_after_days, thin_to, keep_tag)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (experiment_id) DO UPDATE
SET delete_after_days = excluded.delete_after_days, thin_after_days = excluded.thin_after_days,
    thin_to = excluded.thin_to, keep_tag = excluded.keep_tag;

-- name: drop_rule
DELETE FROM retention_rules WHERE experiment_id = $1;

-- name: rules
-- Of $1 experiment_id[], NULL for all.
SELECT p.experiment_id, e.name AS experiment, p.delete_after_days, p.thin_after_days, p.thin_to, p.keep_tag
FROM retention_rules AS p
JOIN experiments AS e USING (experiment_id)
WHERE $1::bigint[] IS NULL OR p.experiment_id = ANY ($1::bigint[])
ORDER BY p.experiment_id;

-- name: experiment_id
-- By name, else by id. $1 either.
SELECT experiment_id FROM experiments WHERE name = $1 OR experiment_id::text = $1 ORDER BY name = $1 DESC LIMIT 1;

-- name: due_to_delete
-- Runs after $1 run_id of experiments with such a rule, of $2 experiment_id only unless NULL, that ended and were not heard of for
-- so long. At most $3.
SELECT r.run_id, r.experiment_id, r.name
FROM retention_rules AS p
JOIN runs AS r ON r.experiment_id = p.experiment_id
WHERE p.delete_after_days IS NOT NULL AND ($2::bigint IS NULL OR p.experiment_id = $2) AND r.run_id > $1
  AND r.lifecycle = 'active' AND r.status NOT IN ('RUNNING', 'SCHEDULED')
  AND r.heartbeat_at < now() - make_interval(days => p.delete_after_days)
  AND NOT EXISTS (SELECT 1 FROM writers AS w WHERE w.run_id = r.run_id
                  AND w.heartbeat_at >= now() - make_interval(days => p.delete_after_days))
  AND NOT EXISTS (SELECT 1 FROM tags AS t WHERE t.run_id = r.run_id AND t.key = p.keep_tag)
ORDER BY r.run_id
LIMIT $3;

-- name: delete_run
-- Hide it, as a user's deletion does; a row comes back if it was active and had ended. $1 run_id.
UPDATE runs SET lifecycle = 'deleted', deleted_at = now()
WHERE run_id = $1 AND lifecycle = 'active' AND status NOT IN ('RUNNING', 'SCHEDULED')
RETURNING run_id;

-- name: unseal
SELECT unseal(ARRAY[$1::uuid]);

-- name: due_to_thin
-- As due_to_delete; of runs that were thinned, those that got points since.
SELECT r.run_id, r.experiment_id, r.name, p.thin_to
FROM retention_rules AS p
JOIN runs AS r ON r.experiment_id = p.experiment_id
WHERE p.thin_after_days IS NOT NULL AND ($2::bigint IS NULL OR p.experiment_id = $2) AND r.run_id > $1
  AND r.lifecycle = 'active' AND r.status NOT IN ('RUNNING', 'SCHEDULED')
  AND r.heartbeat_at < now() - make_interval(days => p.thin_after_days)
  AND NOT EXISTS (SELECT 1 FROM writers AS w WHERE w.run_id = r.run_id
                  AND w.heartbeat_at >= now() - make_interval(days => p.thin_after_days))
  AND NOT EXISTS (SELECT 1 FROM tags AS t WHERE t.run_id = r.run_id AND t.key = p.keep_tag)
  AND (r.thinned_at IS NULL
       OR EXISTS (SELECT 1 FROM writers AS w WHERE w.run_id = r.run_id AND w.heartbeat_at > r.thinned_at))
ORDER BY r.run_id
LIMIT $3;

-- name: large_series
-- Metrics of $1 run_id after $2 key with more than $3 points. At most $4.
SELECT key, n FROM series WHERE run_id = $1 AND key > $2 AND n > $3 ORDER BY key LIMIT $4;

-- name: still_rests
-- Whether $1 run_id is not running.
SELECT EXISTS (SELECT 1 FROM runs WHERE run_id = $1 AND status NOT IN ('RUNNING', 'SCHEDULED'));

-- name: rows_to_thin
-- Packed rows of $1 run_id, $2 key, $3 writer_id from ($4 seq, $5 part) on that hold all that was logged. At most $6.
SELECT ctid, seq, part, n
FROM packed_chunks
WHERE run_id = $1 AND key = $2 AND writer_id = $3 AND stands_for IS NULL AND (seq, part) >= ($4::bigint, $5::int)
ORDER BY seq, part
LIMIT $6;

-- name: take_rows
-- Delete packed rows and return their points, in order of arrival. $1 run_id, $2 key, $3 ctid[], $4 writer_id.
WITH taken AS (
    DELETE FROM packed_chunks
    WHERE run_id = $1 AND key = $2 AND ctid = ANY ($3::tid[]) AND writer_id = $4
    RETURNING seq, part, n, lo_step, step_gap, lo_time_ms, hi_time_ms, steps, times_ms, time_residuals, "values"
)
SELECT count(*) AS chunks,
       string_agg(int4send(n), '' ORDER BY seq, part) AS n,
       string_agg(int8send(lo_step), '' ORDER BY seq, part) AS lo_step,
       string_agg(int8send(COALESCE(step_gap, 0)), '' ORDER BY seq, part) AS step_gap,
       string_agg(boolsend(step_gap IS NULL), '' ORDER BY seq, part) AS has_steps,
       string_agg(int8send(lo_time_ms), '' ORDER BY seq, part) AS lo_time_ms,
       string_agg(int8send(hi_time_ms), '' ORDER BY seq, part) AS hi_time_ms,
       string_agg(boolsend(time_residuals IS NULL), '' ORDER BY seq, part) AS has_times,
       COALESCE(string_agg(substr(array_send(steps), 21), '' ORDER BY seq, part), '') AS steps,
       COALESCE(string_agg(substr(array_send(times_ms), 21), '' ORDER BY seq, part), '') AS times_ms,
       COALESCE(string_agg(substr(array_send(time_residuals), 21), '' ORDER BY seq, part), '') AS time_residuals,
       string_agg(substr(array_send("values"), 21), '' ORDER BY seq, part) AS "values"
FROM taken;

-- name: mark_thinned
-- $1 run_id, $2 when it was begun: what is heard of the run later makes it due again.
UPDATE runs SET thinned_at = $2 WHERE run_id = $1;

-- name: now
SELECT now();
