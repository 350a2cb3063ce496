-- What clients without a stream of their own log (ingest/store/posts.py): points, params and tags of runs that exist.
-- Locks are taken as in write.sql: writers, runs, params, tags, series; the row in writers serialises all posts to a run.

-- name: claim_runs
-- One writer for all posts to a run, whose numbers count groups. Rows come back for active runs only.
-- $1 run_id[], $2 writer_id[], $3 points[]; a run once.
INSERT INTO writers AS w (run_id, writer_id, last_seq, points, client)
SELECT b.run_id, b.writer_id, 1, b.points, 'post'
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS b (run_id, writer_id, points)
JOIN runs AS r ON r.run_id = b.run_id
WHERE r.lifecycle = 'active'
ORDER BY b.run_id, b.writer_id
ON CONFLICT (run_id, writer_id) DO UPDATE
SET last_seq = w.last_seq + 1, points = w.points + excluded.points, heartbeat_at = now()
WHERE w.last_seq < 9223372036854775807  -- closed, as the run is being deleted for good
RETURNING w.run_id, w.last_seq, w.is_sealed;

-- name: post_points
-- All of a post that only goes forward, see migration 0011. Arrays come as texts: asyncpg asks each element of a list three times
-- whether it is a list, too, which for a thousand points cost more than PostgreSQL's reading of the text.
SELECT post_points(
    $1::text::uuid[], $2::text::uuid[], $3::text::bigint[], $4::text::int[], $5::text[], $6::text::int[], $7::text::int[],
    $8::text::int[], $9::text::bigint[], $10::text::bigint[], $11::text::float8[], $12::text::bigint[], $13::text::bigint[],
    $14::text::float8[], $15::text::float8[], $16::text::bigint[], $17::text::bigint[], $18::text::float8[],
    $19::text::float8[], $20::text::bigint[], $21::text::bigint[], $22::text::float8[],
    $23::text::bigint[], $24::text::bigint[], $25::text::float8[]
);

-- name: lifecycles
-- Why a run was not claimed. $1 run_id[].
SELECT run_id, lifecycle FROM runs WHERE run_id = ANY ($1::uuid[]);

-- name: correct_points
-- Fewer points than claimed turned out to be new. $1 run_id[], $2 writer_id[], $3 points too many[].
UPDATE writers AS w
SET points = w.points - b.points
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS b (run_id, writer_id, points)
WHERE w.run_id = b.run_id AND w.writer_id = b.writer_id;

-- name: name_runs
-- $1 run_id[], $2 name[].
UPDATE runs AS r
SET name = b.name
FROM unnest($1::uuid[], $2::text[]) AS b (run_id, name)
WHERE r.run_id = b.run_id;

-- name: stored_params
-- $1 run_id[], $2 key[].
SELECT p.run_id, p.key, p.value
FROM unnest($1::uuid[], $2::text[]) AS b (run_id, key)
JOIN params AS p ON p.run_id = b.run_id AND p.key = b.key;

-- name: maybe_repeated
-- Those of $1 run_id[], $2 key[] that have a stored point not before their least new one, ($3 step[], $4 time_ms[],
-- $5 value[], NaN as 0). Only among these can a new point be a repeat; the number is the place in the arrays, from 1.
-- The latest of a run that was resumed leaves superseded points out: there any point may be one.
SELECT b.i
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[])
    WITH ORDINALITY AS b (run_id, key, step, time_ms, value, i)
JOIN series AS s ON s.run_id = b.run_id AND s.key = b.key
WHERE (b.step, b.time_ms, b.value) <= (s.last_step, s.last_time_ms, COALESCE(NULLIF(s.last_value, 'NaN'), 0))
   OR EXISTS (SELECT FROM writers AS w WHERE w.run_id = b.run_id AND w.resume_from_step IS NOT NULL);

-- name: find_repeats
-- Which of the points $1 run_id[], $2 key[], $3 step[], $4 time_ms[], $5 value[] are stored already: their places in
-- the arrays, from 1. Chunks are found by the index on steps; one that can't hold such a time is not opened.
WITH wanted AS MATERIALIZED (
    SELECT b.*
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[])
        WITH ORDINALITY AS b (run_id, key, step, time_ms, value, i)
), spans AS MATERIALIZED (
    SELECT run_id, key, min(step) AS lo_step, max(step) AS hi_step, min(time_ms) AS lo_time_ms, max(time_ms) AS hi_time_ms
    FROM wanted
    GROUP BY run_id, key
), stored AS MATERIALIZED (
    SELECT c.run_id, c.key, p.step, p.time_ms, p.value
    FROM spans AS s
    JOIN metric_chunks AS c
        ON c.run_id = s.run_id AND c.key = s.key AND c.lo_step <= s.hi_step AND c.hi_step >= s.lo_step
        AND c.lo_time_ms <= s.hi_time_ms AND c.hi_time_ms >= s.lo_time_ms
    CROSS JOIN LATERAL unnest(c.steps, c.times_ms, c."values") AS p (step, time_ms, value)
    WHERE p.step BETWEEN s.lo_step AND s.hi_step
    UNION ALL
    SELECT c.run_id, c.key, q.step, q.time_ms, p.value
    FROM spans AS s
    JOIN packed_chunks AS c
        ON c.run_id = s.run_id AND c.key = s.key AND c.lo_step <= s.hi_step AND c.hi_step >= s.lo_step
        AND c.lo_time_ms <= s.hi_time_ms AND c.hi_time_ms >= s.lo_time_ms
    CROSS JOIN LATERAL unnest(c.steps, c.times_ms, c.time_residuals, c."values") WITH ORDINALITY
        AS p (step, time_ms, time_residual, value, i)
    CROSS JOIN LATERAL (
        SELECT COALESCE(p.step, c.lo_step + (p.i - 1) * c.step_gap) AS step,
               COALESCE(p.time_ms,
                        c.lo_time_ms + (p.i - 1) * (c.hi_time_ms - c.lo_time_ms) / GREATEST(c.n - 1, 1)
                        + p.time_residual) AS time_ms
    ) AS q
    WHERE q.step BETWEEN s.lo_step AND s.hi_step
)
SELECT DISTINCT w.i
FROM stored AS p
JOIN wanted AS w
    ON w.run_id = p.run_id AND w.key = p.key AND w.step = p.step AND w.time_ms = p.time_ms AND w.value = p.value;
