-- Runs with all that belongs to them, many at once (ingest/service/documents.py).

-- name: documents
-- $1 run_id[], different ones: one row, whose columns are what the runs, their metrics, params, tags, and links say; `…_place` is a run's
-- place in $1, from 1. Runs come in their order, everything else in any. Each table is read once for all runs: looking into
-- six of them run by run took ten times as long. Links are lists of data sets and models, as JSON texts ready to be sent.
WITH q AS (SELECT u.run_id, u.i::int AS i FROM unnest($1::uuid[]) WITH ORDINALITY AS u (run_id, i))
SELECT *
FROM (
    SELECT array_agg(q.i ORDER BY q.i) AS run_place, array_agg(r.run_id ORDER BY q.i) AS run_id,
           array_agg(r.experiment_id ORDER BY q.i) AS experiment_id, array_agg(r.name ORDER BY q.i) AS name,
           array_agg(r.user_name ORDER BY q.i) AS user_name, array_agg(r.status ORDER BY q.i) AS status,
           array_agg(r.lifecycle ORDER BY q.i) AS lifecycle, array_agg(r.start_time_ms ORDER BY q.i) AS start_time_ms,
           array_agg(r.end_time_ms ORDER BY q.i) AS end_time_ms,
           array_agg(e.artifact_location ORDER BY q.i) AS artifact_location,
           array_agg(r.parent_run_id ORDER BY q.i) AS parent_run_id
    FROM q
    JOIN runs AS r ON r.run_id = q.run_id
    JOIN experiments AS e ON e.experiment_id = r.experiment_id
) AS of_runs, (
    SELECT array_agg(q.i) AS metric_place, array_agg(s.key) AS metric_key, array_agg(s.last_value) AS metric_value,
           array_agg(s.last_time_ms) AS metric_time_ms, array_agg(s.last_step) AS metric_step
    FROM q JOIN series AS s ON s.run_id = q.run_id
) AS of_metrics, (
    SELECT array_agg(q.i) AS param_place, array_agg(p.key) AS param_key, array_agg(p.value) AS param_value
    FROM q JOIN params AS p ON p.run_id = q.run_id
) AS of_params, (
    SELECT array_agg(q.i) AS tag_place, array_agg(t.key) AS tag_key, array_agg(t.value) AS tag_value
    FROM q JOIN tags AS t ON t.run_id = q.run_id
) AS of_tags, (
    SELECT array_agg(l.i) AS link_place, array_agg(l.name) AS link_name, array_agg(l.list) AS link_list
    FROM (
        SELECT q.i, 'dataset_inputs' AS name,
               json_agg(json_build_object(
                   'tags', (SELECT COALESCE(json_agg(json_build_object('key', t.key, 'value', t.value) ORDER BY t.key), '[]')
                            FROM jsonb_each_text(d.tags) AS t),
                   'dataset', json_strip_nulls(json_build_object(
                       'name', o.name, 'digest', o.digest, 'source_type', o.source_type, 'source', o.source,
                       'schema', o.schema, 'profile', o.profile))) ORDER BY d.logged_at, d.name, d.digest)::text AS list
        FROM q
        JOIN run_datasets AS d ON d.run_id = q.run_id
        JOIN runs AS r ON r.run_id = q.run_id
        JOIN datasets AS o ON o.experiment_id = r.experiment_id AND o.name = d.name AND o.digest = d.digest
        GROUP BY q.i
        UNION ALL
        SELECT q.i, 'model_inputs', json_agg(json_build_object('model_id', m.model_id) ORDER BY m.logged_at, m.model_id)::text
        FROM q JOIN run_models AS m ON m.run_id = q.run_id AND m.direction = 'input'
        GROUP BY q.i
        UNION ALL
        SELECT q.i, 'model_outputs',
               json_agg(json_build_object('model_id', m.model_id, 'step', m.step) ORDER BY m.logged_at, m.model_id)::text
        FROM q JOIN run_models AS m ON m.run_id = q.run_id AND m.direction = 'output'
        GROUP BY q.i
    ) AS l
) AS of_links;

-- name: info
-- $1 run_id: what the run itself says, without lists.
SELECT r.run_id, r.experiment_id, r.name, r.user_name, r.status, r.lifecycle, r.start_time_ms, r.end_time_ms,
       e.artifact_location
FROM runs AS r
JOIN experiments AS e ON e.experiment_id = r.experiment_id
WHERE r.run_id = $1;
