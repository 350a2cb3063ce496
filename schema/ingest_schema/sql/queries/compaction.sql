-- Compaction: from metric_chunks into packed_chunks (ingest/store/compaction.py). One process at a time, by advisory lock.

-- name: take_turn
-- Whether this session now is the one that compacts. $1 the lock's number.
SELECT pg_try_advisory_lock($1);

-- name: waiting
-- Series with chunks that wait, after ($1 run_id, $2 key): a look at $3 rows of the index. The last series may have more
-- chunks than were seen. is_over: the run ended, so that everything goes.
SELECT c.run_id, c.key, c.chunks, c.points, r.status IS DISTINCT FROM 'RUNNING' AS is_over
FROM (
    SELECT s.run_id, s.key, count(*) AS chunks, sum(s.n) AS points
    FROM (
        SELECT m.run_id, m.key, m.n
        FROM metric_chunks AS m
        WHERE (m.run_id, m.key) > ($1::uuid, $2::text)
        ORDER BY m.run_id, m.key
        LIMIT $3
    ) AS s
    GROUP BY s.run_id, s.key
) AS c
LEFT JOIN runs AS r ON r.run_id = c.run_id
ORDER BY c.run_id, c.key;

-- name: chunks_of_series
-- The chunks of one series in the order of their arrival. $1 run_id, $2 key, $3 how many at most.
SELECT writer_id, seq, ctid, n
FROM metric_chunks
WHERE run_id = $1 AND key = $2
ORDER BY writer_id, seq, ctid
LIMIT $3;

-- name: small_packs
-- Packed chunks of fewer than $3 points, as they were logged: they are merged with what comes next.
SELECT writer_id, seq, ctid, n
FROM packed_chunks
WHERE run_id = $1 AND key = $2 AND n < $3 AND stands_for IS NULL;

-- name: take_chunks
-- Delete chunks and return their points, elements of arrays without the arrays' headers. $1 run_id, $2 key, $3 ctid[],
-- $4 writer_id.
WITH taken AS (
    DELETE FROM metric_chunks
    WHERE run_id = $1 AND key = $2 AND ctid = ANY ($3::tid[]) AND writer_id = $4
    RETURNING ctid AS tid, seq, n, steps, times_ms, "values"
)
SELECT count(*) AS chunks,
       string_agg(tidsend(tid), '') AS tids,
       string_agg(int8send(seq), '') AS seqs,
       string_agg(int4send(n), '') AS n,
       string_agg(substr(array_send(steps), 21), '') AS steps,
       string_agg(substr(array_send(times_ms), 21), '') AS times_ms,
       string_agg(substr(array_send("values"), 21), '') AS "values"
FROM taken;

-- name: take_packs
-- Likewise for packed chunks.
WITH taken AS (
    DELETE FROM packed_chunks
    WHERE run_id = $1 AND key = $2 AND ctid = ANY ($3::tid[]) AND writer_id = $4
    RETURNING ctid AS tid, n, lo_step, step_gap, lo_time_ms, hi_time_ms, steps, times_ms, time_residuals, "values"
)
SELECT count(*) AS chunks,
       string_agg(int4send(n), '') AS n,
       string_agg(int8send(lo_step), '') AS lo_step,
       string_agg(int8send(COALESCE(step_gap, 0)), '') AS step_gap,
       string_agg(boolsend(step_gap IS NULL), '') AS has_steps,
       string_agg(int8send(lo_time_ms), '') AS lo_time_ms,
       string_agg(int8send(hi_time_ms), '') AS hi_time_ms,
       string_agg(boolsend(time_residuals IS NULL), '') AS has_times,
       COALESCE(string_agg(substr(array_send(steps), 21), ''), '') AS steps,
       COALESCE(string_agg(substr(array_send(times_ms), 21), ''), '') AS times_ms,
       COALESCE(string_agg(substr(array_send(time_residuals), 21), ''), '') AS time_residuals,
       string_agg(substr(array_send("values"), 21), '') AS "values"
FROM taken;

-- name: sizes
-- Bytes on disk, of chunks as they came in and of packed ones, indexes included.
SELECT pg_total_relation_size('metric_chunks') AS plain_bytes, pg_total_relation_size('packed_chunks') AS packed_bytes;

-- name: vacuum
-- Gives the space of the chunks that went back to the table, and what is free at its end to the disk.
VACUUM metric_chunks;
