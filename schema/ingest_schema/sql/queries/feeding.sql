-- Taking in runs of other tools (ingest/transfer/feeding.py): what is here already.

-- name: known_writer
-- Whether $1 run_id is there, and what its writer $2 has delivered.
SELECT r.run_id IS NOT NULL AS has_run, w.last_seq, w.points, w.ended_at_ms, r.experiment_id
FROM (SELECT $1::uuid AS run_id) AS asked
LEFT JOIN runs AS r ON r.run_id = asked.run_id
LEFT JOIN writers AS w ON w.run_id = asked.run_id AND w.writer_id = $2;

-- name: points_by_key
-- Points of each metric that writer $2 of $1 run_id has delivered.
SELECT key, sum(n)::bigint AS n
FROM (
    SELECT key, n FROM metric_chunks WHERE run_id = $1 AND writer_id = $2
    UNION ALL
    SELECT key, n FROM packed_chunks WHERE run_id = $1 AND writer_id = $2
) AS chunks
GROUP BY key;

-- name: told
-- What an import told last of $1 kind, $2 id, as digests; no row: nothing was brought, or by a release that did not remember.
SELECT told::text AS told FROM imported WHERE kind = $1 AND id = $2;

-- name: tell
-- $1 kind, $2 id, $3 digests as JSON text.
INSERT INTO imported (kind, id, told) VALUES ($1, $2, $3::text::jsonb)
ON CONFLICT (kind, id) DO UPDATE SET told = excluded.told;

-- name: run_here
-- What an import may change of $1 run_id.
SELECT r.name, r.lifecycle,
       COALESCE((SELECT json_object_agg(t.key, t.value) FROM tags AS t WHERE t.run_id = r.run_id), '{}')::text AS tags
FROM runs AS r
WHERE r.run_id = $1;
