-- 0010 pre: the SQL contract, version 2: metric_summaries, and what every view and column means
-- Why:    analysts and Grafana build on the views; what a column means has to stand where they look
-- Safe:   adds views and comments; version 1 is a part of version 2
-- Locks:  ACCESS EXCLUSIVE on the views, catalogue only
-- Cost:   < 100 ms
-- Undo:   DROP VIEW metric_summaries, sql_contract;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

CREATE VIEW metric_summaries AS
SELECT s.run_id,
       s.key,
       s.n AS points,
       s.non_finite,
       s.first_step,
       s.first_value,
       s.last_step,
       s.last_value,
       s.min_value,
       s.min_step,
       s.max_value,
       s.max_step,
       s.sum_value,
       CASE WHEN s.n > s.non_finite THEN s.sum_value / (s.n - s.non_finite) END AS mean_value,
       CASE WHEN s.first_time_ms BETWEEN -210866803200000 AND 253402300799999
            THEN to_timestamp(s.first_time_ms / 1000::float8) END AS first_time,
       CASE WHEN s.last_time_ms BETWEEN -210866803200000 AND 253402300799999
            THEN to_timestamp(s.last_time_ms / 1000::float8) END AS last_time
FROM series AS s;

CREATE VIEW sql_contract AS SELECT 2 AS version;

COMMENT ON SCHEMA ingest IS
    'ingest: runs and their metrics. The views are the SQL contract (see sql_contract); tables may change with any release.';
COMMENT ON VIEW sql_contract IS
    'Version of the views below: one more whenever one is added or gets a column. What there is keeps its name, type and meaning.';
COMMENT ON COLUMN sql_contract.version IS '2: metric_summaries, runs_wide.thinned_at. 1: metrics, latest_metrics, runs_wide.';

COMMENT ON VIEW metrics IS 'Every point: one row for each value logged. Filter by run_id, then by key: both are indexed, through the view too.';
COMMENT ON COLUMN metrics.run_id IS 'The run.';
COMMENT ON COLUMN metrics.key IS 'The metric''s name.';
COMMENT ON COLUMN metrics.step IS 'As logged: any int64, in any order, repeated or not.';
COMMENT ON COLUMN metrics.time_ms IS 'When it was logged by the client''s clock, ms since the Unix epoch; any int64.';
COMMENT ON COLUMN metrics."time" IS 'time_ms as a timestamp; NULL where PostgreSQL has none so early or late.';
COMMENT ON COLUMN metrics.value IS 'As logged, bit for bit; NaN and the infinities included.';
COMMENT ON COLUMN metrics.rank IS 'Of the process that logged it, where several train together; else 0.';
COMMENT ON COLUMN metrics.attempt IS '1, and one more after each resume from a step. Superseded points are here, too.';

COMMENT ON COLUMN latest_metrics.run_id IS 'The run.';
COMMENT ON COLUMN latest_metrics.key IS 'The metric''s name.';
COMMENT ON COLUMN latest_metrics.step IS 'Of the latest point.';
COMMENT ON COLUMN latest_metrics.time_ms IS 'Of the latest point, ms since the Unix epoch.';
COMMENT ON COLUMN latest_metrics.value IS 'Of the latest point: the greatest by step, then time, then value.';
COMMENT ON COLUMN latest_metrics.points IS 'How many points were logged.';

COMMENT ON VIEW metric_summaries IS 'One row for each metric of a run: what all its points amount to, kept true by every commit; no point is read.';
COMMENT ON COLUMN metric_summaries.run_id IS 'The run.';
COMMENT ON COLUMN metric_summaries.key IS 'The metric''s name.';
COMMENT ON COLUMN metric_summaries.points IS 'How many points were logged. After a resume, those that are not superseded.';
COMMENT ON COLUMN metric_summaries.non_finite IS 'How many of them are NaN or infinite.';
COMMENT ON COLUMN metric_summaries.first_step IS 'The lowest step.';
COMMENT ON COLUMN metric_summaries.first_value IS 'At the lowest step.';
COMMENT ON COLUMN metric_summaries.last_step IS 'The highest step.';
COMMENT ON COLUMN metric_summaries.last_value IS 'Of the latest point, as latest_metrics has it.';
COMMENT ON COLUMN metric_summaries.min_value IS 'The least finite value; NULL when there is none.';
COMMENT ON COLUMN metric_summaries.min_step IS 'The first step with the least value.';
COMMENT ON COLUMN metric_summaries.max_value IS 'The greatest finite value; NULL when there is none.';
COMMENT ON COLUMN metric_summaries.max_step IS 'The first step with the greatest value.';
COMMENT ON COLUMN metric_summaries.sum_value IS 'Of the finite values.';
COMMENT ON COLUMN metric_summaries.mean_value IS 'Of the finite values; NULL when there is none.';
COMMENT ON COLUMN metric_summaries.first_time IS 'Of the point at the lowest step, by the client''s clock.';
COMMENT ON COLUMN metric_summaries.last_time IS 'Of the latest point, by the client''s clock.';

COMMENT ON VIEW runs_wide IS 'One row for each run that is not deleted, with its params, tags and latest metrics as JSON objects.';
COMMENT ON COLUMN runs_wide.run_id IS 'UUIDv7; the dashboard and MLflow show its 32 hex digits.';
COMMENT ON COLUMN runs_wide.experiment IS 'Name of its experiment.';
COMMENT ON COLUMN runs_wide.name IS 'Its name; not unique.';
COMMENT ON COLUMN runs_wide.status IS 'RUNNING, SCHEDULED, FINISHED, FAILED, KILLED, or LOST: all of its writers fell silent.';
COMMENT ON COLUMN runs_wide.user_name IS 'Who started it.';
COMMENT ON COLUMN runs_wide.started_at IS 'By the client''s clock.';
COMMENT ON COLUMN runs_wide.ended_at IS 'By the client''s clock; NULL while it runs.';
COMMENT ON COLUMN runs_wide.params IS 'Settings, key to text.';
COMMENT ON COLUMN runs_wide.tags IS 'Labels, key to text.';
COMMENT ON COLUMN runs_wide.metrics IS 'The latest value of each metric.';
COMMENT ON COLUMN runs_wide.thinned_at IS 'When points of it were left out by a retention rule; NULL: all are there.';
