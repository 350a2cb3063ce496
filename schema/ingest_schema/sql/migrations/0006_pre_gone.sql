-- 0006 pre: what was deleted for good, so that a late batch does not bring half a run back
-- Why:    a spool may deliver points of a run days after `ingest gc` deleted it, or while it does
-- Safe:   creates only; the last release does not name the tables
-- Locks:  none that anybody else could want
-- Cost:   < 10 ms
-- Undo:   DROP TABLE gone_runs, gone_experiments;
-- Next:   -

SET search_path = ingest;

CREATE TABLE gone_runs (
    run_id        uuid PRIMARY KEY,
    experiment_id bigint NOT NULL,
    gone_at       timestamptz NOT NULL DEFAULT now(),
    is_done       boolean NOT NULL DEFAULT false
);
CREATE INDEX gone_runs_under_way ON gone_runs (run_id) WHERE NOT is_done;
CREATE INDEX gone_runs_by_time ON gone_runs (gone_at);
COMMENT ON TABLE gone_runs IS 'Runs that are being deleted for good or were: nothing is stored for them any more.';
COMMENT ON COLUMN gone_runs.is_done IS 'Nothing of it is left; false: ingest gc goes on with it.';

CREATE TABLE gone_experiments (
    experiment_id bigint PRIMARY KEY,
    gone_at       timestamptz NOT NULL DEFAULT now(),
    is_done       boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE gone_experiments IS 'Experiments that were deleted for good. Their ids are never given again.';
COMMENT ON COLUMN gone_experiments.is_done IS 'Its artifacts are gone, too; false: ingest gc goes on with it.';
