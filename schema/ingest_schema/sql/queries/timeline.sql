-- Points of one series in the order of their times (ingest/store/timeline.py). $1 run_id, $2 key everywhere.

-- name: bound
-- The least time up to which chunks that begin after $3 time_ms hold at least $4 points; NULL if there are fewer.
SELECT min(b.hi_time_ms)
FROM (
    SELECT c.hi_time_ms, sum(c.n) OVER (ORDER BY c.hi_time_ms ROWS UNBOUNDED PRECEDING) AS total
    FROM (
        SELECT hi_time_ms, n FROM metric_chunks WHERE run_id = $1 AND key = $2 AND lo_time_ms > $3
        UNION ALL
        SELECT hi_time_ms, n FROM packed_chunks WHERE run_id = $1 AND key = $2 AND lo_time_ms > $3
    ) AS c
) AS b
WHERE b.total >= $4;

-- name: plain
-- Chunks that may hold points from $3 to $4 time_ms, as arrays in binary form.
SELECT n, array_send(steps) AS steps, array_send(times_ms) AS times_ms, array_send("values") AS "values"
FROM metric_chunks
WHERE run_id = $1 AND key = $2 AND hi_time_ms >= $3 AND lo_time_ms <= $4;

-- name: packed
-- The same of compacted chunks.
SELECT n, lo_step, hi_step, lo_time_ms, hi_time_ms, step_gap, array_send(steps) AS steps,
       array_send(times_ms) AS times_ms, array_send(time_residuals) AS time_residuals, array_send("values") AS "values"
FROM packed_chunks
WHERE run_id = $1 AND key = $2 AND hi_time_ms >= $3 AND lo_time_ms <= $4;

-- name: steps
-- The steps of each chunk from $3 to $4; of those that rise evenly no array is read.
SELECT n, lo_step, 1 AS step_gap, array_send(steps) AS steps
FROM metric_chunks
WHERE run_id = $1 AND key = $2 AND lo_step <= $4 AND hi_step >= $3
UNION ALL
SELECT n, lo_step, step_gap, array_send(steps)
FROM packed_chunks
WHERE run_id = $1 AND key = $2 AND lo_step <= $4 AND hi_step >= $3;

-- name: chunks_by_step
-- The chunks that have points from $3 to $4, whole, as `plain` and `packed` give them.
SELECT false AS is_packed, n, lo_step, hi_step, lo_time_ms, hi_time_ms, NULL::bigint AS step_gap, array_send(steps) AS steps,
       array_send(times_ms) AS times_ms, NULL::bytea AS time_residuals, array_send("values") AS "values"
FROM metric_chunks
WHERE run_id = $1 AND key = $2 AND lo_step <= $4 AND hi_step >= $3
UNION ALL
SELECT true, n, lo_step, hi_step, lo_time_ms, hi_time_ms, step_gap, array_send(steps),
       array_send(times_ms), array_send(time_residuals), array_send("values")
FROM packed_chunks
WHERE run_id = $1 AND key = $2 AND lo_step <= $4 AND hi_step >= $3;
