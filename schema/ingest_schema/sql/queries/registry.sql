-- Registered models and their aliases (ingest/service/registry.py).

-- name: get_many
-- $1 name[]; in that order. Lists come as JSON texts, ready to be sent.
SELECT r.name, r.description, r.created_at_ms, r.updated_at_ms,
       (SELECT json_agg(json_build_object('key', t.key, 'value', t.value) ORDER BY t.key)
        FROM jsonb_each_text(r.tags) AS t)::text AS tags,
       (SELECT json_agg(json_build_object('alias', a.alias, 'version', a.version::text) ORDER BY a.alias)
        FROM model_aliases AS a WHERE a.name = r.name)::text AS aliases
FROM unnest($1::text[]) WITH ORDINALITY AS q (name, i)
JOIN registered_models AS r ON r.name = q.name
ORDER BY q.i;

-- name: create
-- No row: the name is taken. $1 name, $2 description, $3 tags as JSON text, $4 now in ms.
INSERT INTO registered_models (name, description, tags, created_at_ms, updated_at_ms)
VALUES ($1, $2, $3::text::jsonb, $4, $4)
ON CONFLICT (name) DO NOTHING
RETURNING name;

-- name: lock
-- $1 name; held to the end of the transaction.
SELECT last_version FROM registered_models WHERE name = $1 FOR UPDATE;

-- name: update
-- $1 name, $2 description, $3 now in ms.
UPDATE registered_models SET description = $2, updated_at_ms = $3 WHERE name = $1;

-- name: rename
-- $1 name, $2 new name, $3 now in ms. Versions and aliases follow by their foreign keys.
UPDATE registered_models SET name = $2, updated_at_ms = $3 WHERE name = $1;

-- name: touch_versions
-- $1 name, $2 now in ms: a rename changes its versions too.
UPDATE model_versions SET updated_at_ms = $2 WHERE name = $1;

-- name: exists
-- $1 name.
SELECT true FROM registered_models WHERE name = $1;

-- name: delete
-- $1 name; versions and aliases go with it.
DELETE FROM registered_models WHERE name = $1;

-- name: touch
-- $1 name, $2 now in ms.
UPDATE registered_models SET updated_at_ms = $2 WHERE name = $1;

-- name: set_tag
-- $1 name, $2 JSON object as text.
UPDATE registered_models SET tags = tags || $2::text::jsonb WHERE name = $1;

-- name: delete_tag
-- $1 name, $2 key.
UPDATE registered_models SET tags = tags - $2::text WHERE name = $1;

-- name: set_alias
-- It moves if it is set already. $1 name, $2 alias, $3 version.
INSERT INTO model_aliases (name, alias, version) VALUES ($1, $2, $3)
ON CONFLICT (name, alias) DO UPDATE SET version = excluded.version;

-- name: delete_alias
-- $1 name, $2 alias.
DELETE FROM model_aliases WHERE name = $1 AND alias = $2;

-- name: version_of_alias
-- $1 name, $2 alias.
SELECT version FROM model_aliases WHERE name = $1 AND alias = $2;

-- name: bring
-- From elsewhere, with its times. A row comes back if it was not here; one that is here stays, but no number of a version is given
-- twice. $1 name, then the columns.
INSERT INTO registered_models AS r (name, description, last_version, created_at_ms, updated_at_ms, tags)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb)
ON CONFLICT (name) DO UPDATE SET last_version = excluded.last_version WHERE r.last_version < excluded.last_version
RETURNING xmax = 0 AS is_new;

-- name: bring_alias
-- From elsewhere: one that is here goes on meaning what it meant. A row comes back if it was not, and its version is.
-- $1 name, $2 alias, $3 version.
INSERT INTO model_aliases (name, alias, version)
SELECT v.name, $2, v.version FROM model_versions AS v WHERE v.name = $1 AND v.version = $3
ON CONFLICT DO NOTHING
RETURNING alias;
