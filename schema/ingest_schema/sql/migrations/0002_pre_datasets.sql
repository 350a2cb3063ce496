-- 0002 pre: what runs read and made: datasets, and models by their ids
-- Why:    MLflow's log_input and log_model tell it, and its search asks for it
-- Safe:   creates only
-- Locks:  a foreign key on experiments: SHARE ROW EXCLUSIVE for an instant
-- Cost:   < 50 ms
-- Undo:   DROP TABLE run_datasets, run_models, datasets;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

-- A dataset is known by name and digest within its experiment; the first telling of it stands.
CREATE TABLE datasets (
    experiment_id bigint NOT NULL REFERENCES experiments ON DELETE CASCADE,
    name          text COLLATE "C" NOT NULL,
    digest        text COLLATE "C" NOT NULL,
    source_type   text NOT NULL DEFAULT '',
    source        text NOT NULL DEFAULT '',
    schema        text,
    profile       text,
    PRIMARY KEY (experiment_id, name, digest)
);
COMMENT ON TABLE datasets IS 'Data that runs read, by name and digest within an experiment.';

-- Distributed by run_id one day: no foreign key.
CREATE TABLE run_datasets (
    run_id    uuid NOT NULL,
    name      text COLLATE "C" NOT NULL,
    digest    text COLLATE "C" NOT NULL,
    tags      jsonb NOT NULL DEFAULT '{}',
    context   text GENERATED ALWAYS AS (tags ->> 'mlflow.data.context') STORED,
    logged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, name, digest)
);
COMMENT ON TABLE run_datasets IS 'Which datasets a run read; the dataset is its experiment''s of that name and digest.';
COMMENT ON COLUMN run_datasets.context IS 'What for, such as training: its tag mlflow.data.context.';

CREATE TABLE run_models (
    run_id    uuid NOT NULL,
    direction text NOT NULL CHECK (direction IN ('input', 'output')),
    model_id  text COLLATE "C" NOT NULL,
    step      bigint NOT NULL DEFAULT 0,
    logged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, direction, model_id)
);
COMMENT ON TABLE run_models IS 'Which logged models a run read and made.';
COMMENT ON COLUMN run_models.step IS 'Of the run when it made the model.';
