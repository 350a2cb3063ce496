-- 0012 pre: what imports told of things, so that a repeated one knows what changed there and what was changed here
-- Why:    a repeated `ingest import mlflow` passed over tags, stages and aliases that had changed at the source
-- Safe:   the last release does not name the table
-- Locks:  none
-- Cost:   milliseconds
-- Undo:   DROP TABLE imported;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

CREATE TABLE imported (
    kind text NOT NULL,
    id   text COLLATE "C" NOT NULL,
    told jsonb NOT NULL,
    PRIMARY KEY (kind, id)
);
COMMENT ON TABLE imported IS 'What an import told last of a run, an experiment, a model or a version that it brought: a digest for each fact.';
