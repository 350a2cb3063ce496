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

-- name: plain_units
-- Chunks as they came in that have steps from $3 to $4, as columns: places, points, lowest steps.
SELECT string_agg(tidsend(ctid), '') AS tids, string_agg(int4send(n), '') AS n, string_agg(int8send(lo_step), '') AS lo_step
FROM metric_chunks
WHERE run_id = $1 AND key = $2 AND lo_step <= $4 AND hi_step >= $3;

-- name: packed_units
-- The same of compacted chunks, with the summaries of their blocks.
SELECT string_agg(tidsend(ctid), '') AS tids, string_agg(int4send(n), '') AS n, string_agg(int8send(lo_step), '') AS lo_step,
       string_agg(int4send(COALESCE(length(blocks), 0)), '') AS sizes, string_agg(blocks, '') AS blocks
FROM packed_chunks
WHERE run_id = $1 AND key = $2 AND lo_step <= $4 AND hi_step >= $3;

-- name: plain_at
-- Points of chunks of $1 run_id as they came in: the $3 n-th of each of $2 ctid[].
SELECT c.steps[q.i] AS step, c.times_ms[q.i] AS time_ms, c."values"[q.i] AS value
FROM unnest($2::tid[], $3::int[]) AS q (tid, i)
JOIN metric_chunks AS c ON c.ctid = q.tid AND c.run_id = $1;

-- name: packed_at
-- The same of compacted chunks.
SELECT COALESCE(c.steps[q.i], c.lo_step + (q.i - 1) * c.step_gap) AS step,
       COALESCE(c.times_ms[q.i], c.lo_time_ms + (q.i - 1) * (c.hi_time_ms - c.lo_time_ms) / GREATEST(c.n - 1, 1)
                                 + c.time_residuals[q.i]) AS time_ms,
       c."values"[q.i] AS value
FROM unnest($2::tid[], $3::int[]) AS q (tid, i)
JOIN packed_chunks AS c ON c.ctid = q.tid AND c.run_id = $1;

-- name: latest_point
SELECT last_step AS step, last_time_ms AS time_ms, last_value AS value FROM series WHERE run_id = $1 AND key = $2;

-- name: chunks_before
-- The last chunk that begins at $3 step or before it, of either kind, whole.
(SELECT false AS is_packed, n, lo_step, hi_step, lo_time_ms, hi_time_ms, NULL::bigint AS step_gap, array_send(steps) AS steps,
        array_send(times_ms) AS times_ms, NULL::bytea AS time_residuals, array_send("values") AS "values"
 FROM metric_chunks
 WHERE run_id = $1 AND key = $2 AND lo_step <= $3
 ORDER BY lo_step DESC LIMIT 1)
UNION ALL
(SELECT true, n, lo_step, hi_step, lo_time_ms, hi_time_ms, step_gap, array_send(steps),
        array_send(times_ms), array_send(time_residuals), array_send("values")
 FROM packed_chunks
 WHERE run_id = $1 AND key = $2 AND lo_step <= $3
 ORDER BY lo_step DESC LIMIT 1);
