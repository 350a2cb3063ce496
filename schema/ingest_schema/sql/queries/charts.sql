-- What charts read (ingest/store/charts.py). Columns come as bytes for numpy: string_agg over the types' send functions,
-- which is what binary COPY does, within a prepared statement and without an object for each value.

-- name: series_facts
-- $1 run_id[], $2 key[]: for each pair, numbered from 1, what all points of the series amount to. No row: no such series.
SELECT q.i, s.n, s.non_finite, s.first_step, s.last_step, s.last_time_ms, s.last_value, s.sum_value
FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS q (run_id, key, i)
JOIN series AS s ON s.run_id = q.run_id AND s.key = q.key;

-- name: run_facts
-- $1 run_id[]: when each run started, by its client's clock.
SELECT run_id, start_time_ms FROM runs WHERE run_id = ANY ($1::uuid[]);

-- name: run_writers
-- $1 run_id[]: who wrote, for the rule of attempts.
SELECT run_id, writer_id, rank, attempt, resume_from_step FROM writers WHERE run_id = ANY ($1::uuid[]);

-- name: chunk_summaries
-- The summaries of the chunks of some series that may have points in a range. One row for each series that has any.
-- $1 run_id[], $2 key[], $3 first and $4 last place of its writers in $5 writer_id[], $6 low and $7 high step, $8 low and
-- $9 high time in ms: bounds, inclusive. $10: most chunks of one series to return; one more than that may come.
-- A tid is 6 bytes: block and place; `kinds` has a byte for each chunk: 1 as it came in, 2 packed.
SELECT q.i, c.*
FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
    WITH ORDINALITY AS q (run_id, key, first_writer, last_writer, low_step, high_step, low_time_ms, high_time_ms, i)
CROSS JOIN LATERAL (SELECT ($5::uuid[])[q.first_writer:q.last_writer] AS ids) AS w
CROSS JOIN LATERAL (
    SELECT count(*) AS chunk_count,
           string_agg(d.kind, '') AS kinds,
           string_agg(tidsend(d.tid), '') AS tids,
           string_agg(int4send(COALESCE(array_position(w.ids, d.writer_id), 0)), '') AS writers,
           string_agg(int8send(d.seq), '') AS seqs,
           string_agg(int4send(d.part), '') AS parts,
           string_agg(int8send(d.lo_step), '') AS lo_step,
           string_agg(int8send(d.hi_step), '') AS hi_step,
           string_agg(int8send(d.lo_time_ms), '') AS lo_time_ms,
           string_agg(int8send(d.hi_time_ms), '') AS hi_time_ms,
           string_agg(boolsend(d.time_ordered), '') AS time_ordered,
           string_agg(float8send(d.first_value), '') AS first_value,
           string_agg(float8send(d.last_value), '') AS last_value,
           string_agg(float8send(COALESCE(d.min_value, 'infinity')), '') AS min_value,
           string_agg(float8send(COALESCE(d.max_value, '-infinity')), '') AS max_value,
           string_agg(int8send(COALESCE(d.min_step, 0)), '') AS min_step,
           string_agg(int8send(COALESCE(d.max_step, 0)), '') AS max_step,
           string_agg(float8send(d.sum_value), '') AS sum_value,
           string_agg(int4send(d.n), '') AS n,
           string_agg(int4send(d.non_finite), '') AS non_finite
    FROM (
        SELECT '\x01'::bytea AS kind, m.ctid AS tid, m.writer_id, m.seq, 0 AS part, m.lo_step, m.hi_step, m.lo_time_ms,
               m.hi_time_ms, m.lo_time_ms = m.hi_time_ms AS time_ordered, m.first_value, m.last_value, m.min_value,
               m.max_value, m.min_step, m.max_step, m.sum_value, m.n, m.non_finite
        FROM metric_chunks AS m
        WHERE m.run_id = q.run_id AND m.key = q.key
          AND m.lo_step <= q.high_step AND m.hi_step >= q.low_step
          AND m.lo_time_ms <= q.high_time_ms AND m.hi_time_ms >= q.low_time_ms
        UNION ALL
        SELECT '\x02'::bytea, p.ctid, p.writer_id, p.seq, p.part, p.lo_step, p.hi_step, p.lo_time_ms,
               p.hi_time_ms, p.time_ordered, p.first_value, p.last_value, p.min_value,
               p.max_value, p.min_step, p.max_step, p.sum_value, p.n, p.non_finite
        FROM packed_chunks AS p
        WHERE p.run_id = q.run_id AND p.key = q.key
          AND p.lo_step <= q.high_step AND p.hi_step >= q.low_step
          AND p.lo_time_ms <= q.high_time_ms AND p.hi_time_ms >= q.low_time_ms
        LIMIT $10
    ) AS d
) AS c
WHERE c.chunk_count > 0;

-- name: chunk_points
-- The points of chunks as they came in. $1 run_id, $2 ctid[], of the same snapshot as the summaries. Elements of arrays as
-- array_send gives them, without the arrays' headers of 20 bytes.
SELECT string_agg(tidsend(ctid), '') AS tids,
       string_agg(int4send(n), '') AS n,
       string_agg(substr(array_send(steps), 21), '') AS steps,
       string_agg(substr(array_send(times_ms), 21), '') AS times_ms,
       string_agg(substr(array_send("values"), 21), '') AS "values"
FROM metric_chunks
WHERE run_id = $1 AND ctid = ANY ($2::tid[]);

-- name: packed_points
-- The points of packed chunks. $1 run_id, $2 ctid[], $3 whether their times are wanted, too.
SELECT string_agg(tidsend(ctid), '') AS tids,
       string_agg(int4send(n), '') AS n,
       string_agg(int8send(lo_step), '') AS lo_step,
       string_agg(int8send(COALESCE(step_gap, 0)), '') AS step_gap,
       string_agg(boolsend(step_gap IS NULL), '') AS has_steps,
       string_agg(int8send(lo_time_ms), '') AS lo_time_ms,
       string_agg(int8send(hi_time_ms), '') AS hi_time_ms,
       string_agg(boolsend(time_residuals IS NULL), '') AS has_times,
       COALESCE(string_agg(substr(array_send(steps), 21), ''), '') AS steps,
       COALESCE(string_agg(CASE WHEN $3::boolean THEN substr(array_send(times_ms), 21) END, ''), '') AS times_ms,
       CASE WHEN $3 THEN COALESCE(string_agg(substr(array_send(time_residuals), 21), ''), '') END AS time_residuals,
       string_agg(substr(array_send("values"), 21), '') AS "values"
FROM packed_chunks
WHERE run_id = $1 AND ctid = ANY ($2::tid[]);

-- name: packed_blocks
-- The blocks of packed chunks, of those that have any. $1 run_id, $2 ctid[].
SELECT string_agg(tidsend(ctid), '') AS tids,
       string_agg(int4send(length(blocks)), '') AS sizes,
       string_agg(blocks, '') AS blocks
FROM packed_chunks
WHERE run_id = $1 AND ctid = ANY ($2::tid[]) AND blocks IS NOT NULL;
