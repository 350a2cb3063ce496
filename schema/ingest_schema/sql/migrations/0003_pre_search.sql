-- 0003 pre: segments, where runs at rest stand by columns, so that a search reads arrays instead of joining rows
-- Why:    100,000 runs x 50 metrics: a metric is 100,000 rows of series on as many pages, 500 ms; as arrays 12 ms
--         (docs/decisions.md, "Runs at rest are searched by columns")
-- Safe:   the last release does not name the new columns; their defaults rewrite no rows
-- Locks:  ACCESS EXCLUSIVE on runs and writers, catalogue only, then an index on runs
-- Cost:   < 1 s for 100,000 runs (the index)
-- Undo:   DROP FUNCTION unseal; DROP TABLE search_metrics, search_params, search_tags, search_segments;
--         ALTER TABLE runs DROP COLUMN segment_id; ALTER TABLE writers DROP COLUMN is_sealed;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

ALTER TABLE runs ADD COLUMN segment_id bigint;
COMMENT ON COLUMN runs.segment_id IS 'Where the run stands sealed for searches; NULL while it may still change.';
ALTER TABLE writers ADD COLUMN is_sealed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN writers.is_sealed IS 'The run was sealed after this writer''s last batch: the next one has to break the seal.';
CREATE INDEX runs_open ON runs (lifecycle, experiment_id, start_time_ms DESC) WHERE segment_id IS NULL;

-- Arrays run in the order of run_id[]; a place without the fact is NULL. A run whose seal was broken is NULL in run_id[].
CREATE TABLE search_segments (
    segment_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment_id bigint NOT NULL,
    runs          int NOT NULL,
    run_id        uuid[] NOT NULL,
    start_time_ms bigint[] NOT NULL,
    end_time_ms   bigint[] NOT NULL,
    name          text[] NOT NULL,
    user_name     text[] NOT NULL,
    status        text[] NOT NULL,
    parent_run_id uuid[] NOT NULL
);
CREATE INDEX search_segments_by_experiment ON search_segments (experiment_id);
COMMENT ON TABLE search_segments IS 'Runs at rest, by columns, for searches only. What they say stands in runs, series, params and tags.';

CREATE TABLE search_metrics (
    segment_id  bigint NOT NULL,
    key         text COLLATE "C" NOT NULL,
    last_value  float8[] NOT NULL,
    min_value   float8[] NOT NULL,
    max_value   float8[] NOT NULL,
    first_value float8[] NOT NULL,
    sum_value   float8[] NOT NULL,
    n           bigint[] NOT NULL,
    non_finite  bigint[] NOT NULL,
    min_step    bigint[] NOT NULL,
    max_step    bigint[] NOT NULL,
    last_step   bigint[] NOT NULL,
    PRIMARY KEY (segment_id, key)
);
-- Values of metrics do not compress, and reading them must not cost decompression. Counts and steps are much alike.
ALTER TABLE search_metrics
    ALTER COLUMN last_value SET STORAGE EXTERNAL,
    ALTER COLUMN min_value SET STORAGE EXTERNAL,
    ALTER COLUMN max_value SET STORAGE EXTERNAL,
    ALTER COLUMN first_value SET STORAGE EXTERNAL,
    ALTER COLUMN sum_value SET STORAGE EXTERNAL;

CREATE TABLE search_params (
    segment_id bigint NOT NULL,
    key        text COLLATE "C" NOT NULL,
    value      text[] NOT NULL,
    PRIMARY KEY (segment_id, key)
);
COMMENT ON COLUMN search_params.value IS 'At most 256 characters; a value of so many may go on in params.';

CREATE TABLE search_tags (
    segment_id bigint NOT NULL,
    key        text COLLATE "C" NOT NULL,
    value      text[] NOT NULL,
    PRIMARY KEY (segment_id, key)
);

-- Whoever changes a run, its params, tags, series or lifecycle calls this in the same transaction, after it has locked
-- the run's row or a row of its writers, and before COMMIT. It waits for a seal that is being made. Most runs are open,
-- and then it is one look at the primary key.
CREATE FUNCTION unseal(run_ids uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = ingest AS $$
DECLARE
    broken record;
BEGIN
    PERFORM FROM runs WHERE run_id = ANY (run_ids) ORDER BY run_id FOR NO KEY UPDATE;
    FOR broken IN
        SELECT segment_id, array_agg(run_id) AS gone
        FROM runs
        WHERE run_id = ANY (run_ids) AND segment_id IS NOT NULL
        GROUP BY segment_id
        ORDER BY segment_id
    LOOP
        UPDATE search_segments AS s
        SET run_id = ARRAY(SELECT CASE WHEN u.id <> ALL (broken.gone) THEN u.id END
                           FROM unnest(s.run_id) WITH ORDINALITY AS u (id, i) ORDER BY u.i),
            runs = s.runs - cardinality(broken.gone)
        WHERE s.segment_id = broken.segment_id;
    END LOOP;
    UPDATE runs SET segment_id = NULL WHERE run_id = ANY (run_ids) AND segment_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION unseal IS 'Takes runs out of the segments of searches, because something about them changes.';
