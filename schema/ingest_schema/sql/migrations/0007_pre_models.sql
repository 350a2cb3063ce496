-- 0007 pre: logged models and the model registry
-- Why:    MLflow's log_model, load_model and register_model keep here what they tell of models
-- Safe:   creates only
-- Locks:  a foreign key on experiments: SHARE ROW EXCLUSIVE for an instant
-- Cost:   < 50 ms
-- Undo:   DROP TABLE model_aliases, model_versions, registered_models, logged_model_metrics, logged_models;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

-- Logged models: what a run, or nobody's run, made of an experiment ----------------------------------------------------

CREATE TABLE logged_models (
    model_id       text COLLATE "C" PRIMARY KEY,
    experiment_id  bigint NOT NULL REFERENCES experiments ON DELETE CASCADE,
    name           text COLLATE "C" NOT NULL,
    model_type     text,
    source_run_id  text COLLATE "C",
    status         text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'READY', 'UPLOAD_FAILED', 'UNSPECIFIED')),
    status_message text NOT NULL DEFAULT '',
    lifecycle      text NOT NULL DEFAULT 'active' CHECK (lifecycle IN ('active', 'deleted')),
    created_at_ms  bigint NOT NULL,
    updated_at_ms  bigint NOT NULL,
    params         jsonb NOT NULL DEFAULT '{}',
    tags           jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX logged_models_newest ON logged_models (experiment_id, created_at_ms DESC, model_id);
COMMENT ON TABLE logged_models IS 'Models as MLflow''s log_model makes them; their files are artifacts.';
COMMENT ON COLUMN logged_models.model_id IS 'm- and 32 hex digits.';
COMMENT ON COLUMN logged_models.status IS 'MLflow''s, without its prefix: PENDING until the files are there.';

-- The key is the whole point, so that one that is sent again changes nothing; a column that is not told is ''.
CREATE TABLE logged_model_metrics (
    model_id       text COLLATE "C" NOT NULL REFERENCES logged_models ON DELETE CASCADE,
    key            text COLLATE "C" NOT NULL,
    step           bigint NOT NULL,
    time_ms        bigint NOT NULL,
    value          float8 NOT NULL,
    run_id         uuid NOT NULL,
    dataset_name   text COLLATE "C" NOT NULL DEFAULT '',
    dataset_digest text COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (model_id, key, step, time_ms, value, run_id, dataset_name, dataset_digest)
);
COMMENT ON TABLE logged_model_metrics IS 'Points of runs that belong to a logged model too, with the dataset that they were measured on. They stay when the run goes.';

-- The registry: names for people, versions below them, aliases and stages ----------------------------------------------

CREATE TABLE registered_models (
    name          text COLLATE "C" PRIMARY KEY,
    description   text,
    last_version  int NOT NULL DEFAULT 0,
    created_at_ms bigint NOT NULL,
    updated_at_ms bigint NOT NULL,
    tags          jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE registered_models IS 'Models by names that people chose.';
COMMENT ON COLUMN registered_models.last_version IS 'Number of the newest version, deleted ones included: none is used again.';

CREATE TABLE model_versions (
    name             text COLLATE "C" NOT NULL REFERENCES registered_models ON UPDATE CASCADE ON DELETE CASCADE,
    version          int NOT NULL,
    description      text,
    user_name        text NOT NULL DEFAULT '',
    source           text NOT NULL,
    storage_location text NOT NULL,
    run_id           text COLLATE "C",
    run_link         text,
    model_id         text COLLATE "C",
    stage            text NOT NULL DEFAULT 'None' CHECK (stage IN ('None', 'Staging', 'Production', 'Archived')),
    created_at_ms    bigint NOT NULL,
    updated_at_ms    bigint NOT NULL,
    tags             jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (name, version)
);
CREATE INDEX model_versions_of_model ON model_versions (model_id) WHERE model_id IS NOT NULL;
CREATE INDEX model_versions_of_run ON model_versions (run_id) WHERE run_id IS NOT NULL;
COMMENT ON TABLE model_versions IS 'Versions of registered models.';
COMMENT ON COLUMN model_versions.source IS 'As the client named it.';
COMMENT ON COLUMN model_versions.storage_location IS 'Where the files are; what a source such as models:/m-… led to when the version was made.';

CREATE TABLE model_aliases (
    name    text COLLATE "C" NOT NULL,
    alias   text COLLATE "C" NOT NULL,
    version int NOT NULL,
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, version) REFERENCES model_versions ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX model_aliases_of_version ON model_aliases (name, version);
COMMENT ON TABLE model_aliases IS 'Words such as champion, each for one version of a registered model.';
