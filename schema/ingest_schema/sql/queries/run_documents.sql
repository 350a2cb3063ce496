-- Runs with all that belongs to them, many at once (ingest/service/documents.py).

-- name: documents
-- $1 run_id[]; in that order, unknown ones are left out. The lists come as JSON texts, ready to be sent: a run may have
-- thousands of metrics, and PostgreSQL writes JSON faster than Python builds objects. It quotes NaN and the infinities.
SELECT r.run_id, r.experiment_id, r.name, r.user_name, r.status, r.lifecycle, r.parent_run_id, r.start_time_ms,
       r.end_time_ms, e.artifact_location,
       (SELECT json_agg(json_build_object('key', s.key, 'value', s.last_value, 'timestamp', s.last_time_ms,
                                          'step', s.last_step) ORDER BY s.key)
        FROM series AS s WHERE s.run_id = r.run_id)::text AS metrics,
       (SELECT json_agg(json_build_object('key', p.key, 'value', p.value) ORDER BY p.key)
        FROM params AS p WHERE p.run_id = r.run_id)::text AS params,
       (SELECT json_agg(json_build_object('key', t.key, 'value', t.value) ORDER BY t.key)
        FROM (SELECT tags.key, tags.value FROM tags WHERE tags.run_id = r.run_id AND tags.key <> 'mlflow.runName'
              UNION ALL
              SELECT 'mlflow.runName', r.name WHERE r.name <> ''
              UNION ALL
              SELECT 'mlflow.parentRunId', replace(r.parent_run_id::text, '-', '')
              WHERE r.parent_run_id IS NOT NULL
                AND NOT EXISTS (SELECT FROM tags WHERE tags.run_id = r.run_id AND tags.key = 'mlflow.parentRunId')
             ) AS t)::text AS tags,
       (SELECT json_agg(json_build_object(
                   'tags', (SELECT COALESCE(json_agg(json_build_object('key', t.key, 'value', t.value) ORDER BY t.key), '[]')
                            FROM jsonb_each_text(i.tags) AS t),
                   'dataset', json_strip_nulls(json_build_object(
                       'name', d.name, 'digest', d.digest, 'source_type', d.source_type, 'source', d.source,
                       'schema', d.schema, 'profile', d.profile))) ORDER BY i.logged_at, i.name, i.digest)
        FROM run_datasets AS i
        JOIN datasets AS d ON d.experiment_id = r.experiment_id AND d.name = i.name AND d.digest = i.digest
        WHERE i.run_id = r.run_id)::text AS dataset_inputs,
       (SELECT json_agg(json_build_object('model_id', m.model_id) ORDER BY m.logged_at, m.model_id)
        FROM run_models AS m WHERE m.run_id = r.run_id AND m.direction = 'input')::text AS model_inputs,
       (SELECT json_agg(json_build_object('model_id', m.model_id, 'step', m.step) ORDER BY m.logged_at, m.model_id)
        FROM run_models AS m WHERE m.run_id = r.run_id AND m.direction = 'output')::text AS model_outputs
FROM unnest($1::uuid[]) WITH ORDINALITY AS q (run_id, i)
JOIN runs AS r ON r.run_id = q.run_id
JOIN experiments AS e ON e.experiment_id = r.experiment_id
ORDER BY q.i;

-- name: info
-- $1 run_id: what the run itself says, without lists.
SELECT r.run_id, r.experiment_id, r.name, r.user_name, r.status, r.lifecycle, r.start_time_ms, r.end_time_ms,
       e.artifact_location
FROM runs AS r
JOIN experiments AS e ON e.experiment_id = r.experiment_id
WHERE r.run_id = $1;
