-- 0009 pre: retention rules of experiments, and the marks of runs that were thinned
-- Why:    old runs are looked at as curves; their extremes are worth keeping, a million points each are not
-- Safe:   the last release does not name the new table and columns; no default rewrites rows
-- Locks:  ACCESS EXCLUSIVE on runs and packed_chunks, catalogue only; gives up after lock_timeout, run it again
-- Cost:   < 100 ms
-- Undo:   DROP TABLE retention_rules; ALTER TABLE packed_chunks DROP COLUMN stands_for; DROP VIEW runs_wide (and make that of
--         0001); ALTER TABLE runs DROP COLUMN thinned_at;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

CREATE TABLE retention_rules (
    experiment_id     bigint PRIMARY KEY REFERENCES experiments ON DELETE CASCADE,
    delete_after_days int CHECK (delete_after_days > 0),
    thin_after_days   int CHECK (thin_after_days > 0),
    thin_to           int NOT NULL CHECK (thin_to > 0),
    keep_tag          text NOT NULL
);
COMMENT ON TABLE retention_rules IS 'What becomes of an experiment''s runs some days after they were last heard of. NULL: nothing.';
COMMENT ON COLUMN retention_rules.thin_to IS 'Buckets of a metric: about so many keep first, last, least, greatest and non-finite values.';
COMMENT ON COLUMN retention_rules.keep_tag IS 'Runs with this tag, whatever its value, are left alone.';

ALTER TABLE runs ADD COLUMN thinned_at timestamptz;
COMMENT ON COLUMN runs.thinned_at IS 'When points of it were thinned; its series still say what was logged. NULL: all points are there.';

ALTER TABLE packed_chunks ADD COLUMN stands_for int;
COMMENT ON COLUMN packed_chunks.stands_for IS 'How many points were logged where these n were kept when the run was thinned. NULL: all of them.';

CREATE OR REPLACE VIEW runs_wide AS
SELECT r.run_id,
       e.name AS experiment,
       r.name,
       r.status,
       r.user_name,
       CASE WHEN r.start_time_ms BETWEEN -210866803200000 AND 253402300799999
            THEN to_timestamp(r.start_time_ms / 1000::float8) END AS started_at,
       CASE WHEN r.end_time_ms BETWEEN -210866803200000 AND 253402300799999
            THEN to_timestamp(r.end_time_ms / 1000::float8) END AS ended_at,
       COALESCE((SELECT jsonb_object_agg(p.key, p.value) FROM params AS p WHERE p.run_id = r.run_id), '{}') AS params,
       COALESCE((SELECT jsonb_object_agg(t.key, t.value) FROM tags AS t WHERE t.run_id = r.run_id), '{}') AS tags,
       COALESCE((SELECT jsonb_object_agg(s.key, s.last_value) FROM series AS s WHERE s.run_id = r.run_id), '{}') AS metrics,
       r.thinned_at
FROM runs AS r
JOIN experiments AS e USING (experiment_id)
WHERE r.lifecycle = 'active';
