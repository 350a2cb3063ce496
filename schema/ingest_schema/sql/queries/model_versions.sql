-- Versions of registered models (ingest/service/model_versions.py).

-- name: get_many
-- $1 name[], $2 version[]; in that order.
SELECT v.name, v.version, v.description, v.user_name, v.source, v.storage_location, v.run_id, v.run_link, v.model_id, v.stage,
       v.created_at_ms, v.updated_at_ms,
       (SELECT json_agg(json_build_object('key', t.key, 'value', t.value) ORDER BY t.key)
        FROM jsonb_each_text(v.tags) AS t)::text AS tags,
       (SELECT json_agg(a.alias ORDER BY a.alias)
        FROM model_aliases AS a WHERE a.name = v.name AND a.version = v.version)::text AS aliases
FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS q (name, version, i)
JOIN model_versions AS v ON v.name = q.name AND v.version = q.version
ORDER BY q.i;

-- name: latest
-- The newest version of each of $1 name[] for each stage.
SELECT DISTINCT ON (v.name, v.stage) v.name, v.version, v.stage
FROM model_versions AS v
WHERE v.name = ANY ($1::text[])
ORDER BY v.name, v.stage, v.version DESC;

-- name: create
-- The next number; the model's row is locked. $1 name, $2 description, $3 source, $4 storage_location, $5 run_id, $6 run_link,
-- $7 model_id, $8 tags as JSON text, $9 now in ms.
WITH number AS (
    UPDATE registered_models SET last_version = last_version + 1, updated_at_ms = $9 WHERE name = $1 RETURNING last_version
)
INSERT INTO model_versions (name, version, description, source, storage_location, run_id, run_link, model_id, tags,
                            created_at_ms, updated_at_ms)
SELECT $1, n.last_version, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $9
FROM number AS n
RETURNING version;

-- name: lock
-- $1 name, $2 version; held to the end of the transaction.
SELECT stage FROM model_versions WHERE name = $1 AND version = $2 FOR UPDATE;

-- name: update
-- $1 name, $2 version, $3 description, $4 now in ms.
UPDATE model_versions SET description = $3, updated_at_ms = $4 WHERE name = $1 AND version = $2;

-- name: set_stage
-- $1 name, $2 version, $3 stage, $4 now in ms.
UPDATE model_versions SET stage = $3, updated_at_ms = $4 WHERE name = $1 AND version = $2;

-- name: archive_others
-- $1 name, $2 version, $3 stage, $4 now in ms: other versions of that stage.
UPDATE model_versions SET stage = 'Archived', updated_at_ms = $4 WHERE name = $1 AND version <> $2 AND stage = $3;

-- name: delete
-- $1 name, $2 version; its aliases go with it.
DELETE FROM model_versions WHERE name = $1 AND version = $2;

-- name: set_tag
-- $1 name, $2 version, $3 JSON object as text.
UPDATE model_versions SET tags = tags || $3::text::jsonb WHERE name = $1 AND version = $2;

-- name: delete_tag
-- $1 name, $2 version, $3 key.
UPDATE model_versions SET tags = tags - $3::text WHERE name = $1 AND version = $2;

-- name: bring
-- From elsewhere, under its number, which is not given again. A row comes back if it was not here. $1 name, $2 version, then the
-- columns.
WITH number AS (UPDATE registered_models SET last_version = $2 WHERE name = $1 AND last_version < $2)
INSERT INTO model_versions (name, version, description, user_name, source, storage_location, run_id, run_link, model_id, stage,
                            created_at_ms, updated_at_ms, tags)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::jsonb)
ON CONFLICT DO NOTHING
RETURNING version;

-- name: skip
-- A number that was given elsewhere is not given here. $1 name, $2 version.
UPDATE registered_models SET last_version = $2 WHERE name = $1 AND last_version < $2;
