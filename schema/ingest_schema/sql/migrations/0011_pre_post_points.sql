-- 0011 pre: post_points, which stores posts that only go forward in one round trip; ieee_sum, which never refuses a sum
-- Why:    a single value logged through MLflow's REST was seven round trips between service and database
--         (docs/decisions.md, "A post that goes forward is one statement"). The sum of two float64s beyond float64 is an error to
--         PostgreSQL, and points whose metric summed up to that were refused
-- Safe:   the last release does not call it
-- Locks:  none
-- Cost:   milliseconds
-- Undo:   DROP FUNCTION post_points; DROP FUNCTION ieee_sum;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

-- Below 1e290 a number changes no sum that is near the end of float64, and its half may be an error, too (underflow). Of others half
-- the sum is exact, and beyond the greatest float64's half just where the sum is beyond float64.
CREATE FUNCTION ieee_sum(a float8, b float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (abs(a) < 8e307 AND abs(b) < 8e307) OR abs(a) < 1e290 OR abs(b) < 1e290 THEN a + b
            WHEN a / 2 + b / 2 > 8.98846567431157854e307 AND a / 2 + b / 2 < 'NaN' THEN 'Infinity'::float8
            WHEN a / 2 + b / 2 < -8.98846567431157854e307 THEN '-Infinity'::float8
            ELSE a + b END;
COMMENT ON FUNCTION ieee_sum IS 'a + b, infinite where that is beyond float64; + is an error there.';

-- Does what claim_runs, maybe_repeated and merge_series_stage of queries/posts.sql and write.sql do, with the same locks in the same order,
-- where that is all there is to do. False: it was not, and nothing is stored; the caller then goes the long way. (An error that
-- leaves the function would say the same, and be a line in PostgreSQL's log each time.) Statements in a function see what others
-- committed before they began, as statements of a transaction do.
--
-- Runs, each once and in order: run_ids, writer_ids, point_nums. Chunks, one for each metric of a run: places (of its run, from 1), keys,
-- and the columns of series and metric_chunks; latest_values are those of series, last_values those of chunks. Points: all_steps to
-- all_values, of which a chunk has ns[i] from starts[i] on.
CREATE FUNCTION post_points(
    run_ids uuid[], writer_ids uuid[], point_nums bigint[],
    places int[], keys text[], starts int[], ns int[], non_finites int[],
    first_steps bigint[], first_times_ms bigint[], first_values float8[],
    last_steps bigint[], latest_times_ms bigint[], latest_values float8[], last_values float8[],
    lo_times_ms bigint[], hi_times_ms bigint[],
    min_values float8[], max_values float8[], min_steps bigint[], max_steps bigint[], sum_values float8[],
    all_steps bigint[], all_times_ms bigint[], all_values float8[]
) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    seqs bigint[];
    is_usual boolean;
    merged bigint;
BEGIN
    WITH claimed AS (
        INSERT INTO ingest.writers AS w (run_id, writer_id, last_seq, points, client)
        SELECT b.run_id, b.writer_id, 1, b.point_num, 'post'
        FROM unnest(run_ids, writer_ids, point_nums) AS b (run_id, writer_id, point_num)
        JOIN ingest.runs AS r ON r.run_id = b.run_id
        WHERE r.lifecycle = 'active'
        ORDER BY b.run_id, b.writer_id
        ON CONFLICT (run_id, writer_id) DO UPDATE
        SET last_seq = w.last_seq + 1, points = w.points + excluded.points, heartbeat_at = now()
        WHERE w.last_seq < 9223372036854775807
        RETURNING w.run_id, w.last_seq, w.is_sealed
    )
    SELECT array_agg(c.last_seq ORDER BY c.run_id), bool_and(c.last_seq > 1 AND NOT c.is_sealed)
    INTO seqs, is_usual
    FROM claimed AS c;
    -- A run that is not there, deleted, at rest, or written to by posts for the first time; one that was resumed.
    IF is_usual IS NOT TRUE OR cardinality(seqs) < cardinality(run_ids)
        OR EXISTS (SELECT FROM ingest.writers AS w WHERE w.run_id = ANY (run_ids) AND w.resume_from_step IS NOT NULL)
    THEN
        RAISE 'a run needs more than its points' USING ERRCODE = 'IG001';
    END IF;

    -- Only what lies beyond the latest point of its series can't be a repeat. It is the latest then.
    WITH merged_series AS (
        INSERT INTO ingest.series AS s (
            run_id, key, n, non_finite, first_step, first_time_ms, first_value, last_step, last_time_ms, last_value,
            min_value, max_value, min_step, max_step, sum_value
        )
        SELECT run_ids[b.place], b.key, b.n, b.non_finite, b.first_step, b.first_time_ms, b.first_value,
               b.last_step, b.latest_time_ms, b.latest_value, b.min_value, b.max_value, b.min_step, b.max_step, b.sum_value
        FROM unnest(places, keys, ns, non_finites, first_steps, first_times_ms, first_values, last_steps, latest_times_ms,
                    latest_values, min_values, max_values, min_steps, max_steps, sum_values)
            AS b (place, key, n, non_finite, first_step, first_time_ms, first_value, last_step, latest_time_ms,
                  latest_value, min_value, max_value, min_step, max_step, sum_value)
        ORDER BY b.place, b.key COLLATE "C"
        ON CONFLICT (run_id, key) DO UPDATE
        SET n = s.n + excluded.n,
            non_finite = s.non_finite + excluded.non_finite,
            sum_value = ingest.ieee_sum(s.sum_value, excluded.sum_value),
            last_step = excluded.last_step,
            last_time_ms = excluded.last_time_ms,
            last_value = excluded.last_value,
            min_step = CASE WHEN excluded.min_value < s.min_value OR s.min_value IS NULL THEN excluded.min_step
                            WHEN excluded.min_value = s.min_value THEN LEAST(s.min_step, excluded.min_step)
                            ELSE s.min_step END,
            max_step = CASE WHEN excluded.max_value > s.max_value OR s.max_value IS NULL THEN excluded.max_step
                            WHEN excluded.max_value = s.max_value THEN LEAST(s.max_step, excluded.max_step)
                            ELSE s.max_step END,
            min_value = LEAST(s.min_value, excluded.min_value),
            max_value = GREATEST(s.max_value, excluded.max_value)
        WHERE (excluded.first_step, excluded.first_time_ms) > (s.last_step, s.last_time_ms)
        RETURNING 1
    )
    SELECT count(*) INTO merged FROM merged_series;
    IF merged < cardinality(keys) THEN
        RAISE 'a point does not lie beyond those that are stored' USING ERRCODE = 'IG001';
    END IF;

    INSERT INTO ingest.metric_chunks (
        run_id, writer_id, seq, key, lo_step, hi_step, lo_time_ms, hi_time_ms, first_value, last_value, sum_value, n, non_finite,
        min_value, max_value, min_step, max_step, steps, times_ms, "values"
    )
    SELECT run_ids[b.place], writer_ids[b.place], seqs[b.place], b.key, b.first_step, b.last_step, b.lo_time_ms, b.hi_time_ms,
           b.first_value, b.last_value, b.sum_value, b.n, b.non_finite, b.min_value, b.max_value, b.min_step, b.max_step,
           all_steps[b.start : b.start + b.n - 1], all_times_ms[b.start : b.start + b.n - 1],
           all_values[b.start : b.start + b.n - 1]
    FROM unnest(places, keys, starts, ns, non_finites, first_steps, last_steps, lo_times_ms, hi_times_ms, first_values, last_values,
                sum_values, min_values, max_values, min_steps, max_steps)
        AS b (place, key, start, n, non_finite, first_step, last_step, lo_time_ms, hi_time_ms, first_value, last_value,
              sum_value, min_value, max_value, min_step, max_step);
    RETURN true;
EXCEPTION
    WHEN SQLSTATE 'IG001' THEN  -- what the block did is undone
        RETURN false;
END
$$;
COMMENT ON FUNCTION post_points IS 'Stores points of posts that lie beyond everything that their series have; false, and nothing stored, for any other.';
