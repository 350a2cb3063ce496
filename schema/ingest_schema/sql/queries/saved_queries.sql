-- SQL that the team keeps by name (ingest/service/saved_queries.py).

-- name: list
SELECT name, sql, (extract(epoch FROM updated_at) * 1000)::bigint AS updated_at_ms, updated_by
FROM saved_queries
ORDER BY name;

-- name: save
-- $1 name, $2 sql, $3 who, $4 most of them. No row if there are so many already and none is called so.
INSERT INTO saved_queries (name, sql, updated_by)
SELECT $1, $2, $3
WHERE (SELECT count(*) FROM saved_queries) < $4 OR EXISTS (SELECT FROM saved_queries WHERE name = $1)
ON CONFLICT (name) DO UPDATE SET sql = excluded.sql, updated_by = excluded.updated_by, updated_at = now()
RETURNING name, sql, (extract(epoch FROM updated_at) * 1000)::bigint AS updated_at_ms, updated_by;

-- name: delete
-- $1 name.
DELETE FROM saved_queries WHERE name = $1 RETURNING name;
