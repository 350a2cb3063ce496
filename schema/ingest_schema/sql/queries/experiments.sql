-- Experiments and their tags: reading one and changing it (ingest/service/experiments.py).

-- name: get
-- $1 experiment_id.
SELECT e.experiment_id, e.name, e.artifact_location, e.lifecycle, e.created_at_ms, e.updated_at_ms,
       COALESCE((SELECT jsonb_object_agg(t.key, t.value) FROM experiment_tags AS t
                 WHERE t.experiment_id = e.experiment_id), '{}')::text AS tags
FROM experiments AS e
WHERE e.experiment_id = $1;

-- name: get_by_name
-- $1 name.
SELECT e.experiment_id, e.name, e.artifact_location, e.lifecycle, e.created_at_ms, e.updated_at_ms,
       COALESCE((SELECT jsonb_object_agg(t.key, t.value) FROM experiment_tags AS t
                 WHERE t.experiment_id = e.experiment_id), '{}')::text AS tags
FROM experiments AS e
WHERE e.name = $1;

-- name: get_many
-- $1 experiment_id[]; in that order.
SELECT e.experiment_id, e.name, e.artifact_location, e.lifecycle, e.created_at_ms, e.updated_at_ms,
       COALESCE((SELECT jsonb_object_agg(t.key, t.value) FROM experiment_tags AS t
                 WHERE t.experiment_id = e.experiment_id), '{}')::text AS tags
FROM unnest($1::bigint[]) WITH ORDINALITY AS q (experiment_id, i)
JOIN experiments AS e USING (experiment_id)
ORDER BY q.i;

-- name: create
-- No row: the name is taken. $1 name, $2 now in ms.
INSERT INTO experiments (name, created_at_ms, updated_at_ms) VALUES ($1, $2, $2)
ON CONFLICT (name) DO NOTHING
RETURNING experiment_id;

-- name: lock
-- $1 experiment_id; held to the end of the transaction, so that its stage and its tags do not change apart.
SELECT lifecycle FROM experiments WHERE experiment_id = $1 FOR UPDATE;

-- name: rename
-- $1 experiment_id, $2 name, $3 now in ms.
UPDATE experiments SET name = $2, updated_at_ms = $3 WHERE experiment_id = $1;

-- name: set_lifecycle
-- $1 experiment_id, $2 lifecycle, $3 now in ms.
UPDATE experiments SET lifecycle = $2, updated_at_ms = $3 WHERE experiment_id = $1;

-- name: set_runs_lifecycle
-- All runs of $1 experiment_id follow it to $2 lifecycle, but those that are being deleted for good.
UPDATE runs AS r
SET lifecycle = $2, deleted_at = CASE WHEN $2 = 'deleted' THEN now() END
WHERE r.experiment_id = $1 AND r.lifecycle <> $2 AND NOT EXISTS (SELECT 1 FROM gone_runs AS g WHERE g.run_id = r.run_id);

-- name: unseal_runs
-- Takes the runs of $1 experiment_id out of the segments of searches; see migration 0003. All of them, sealed or not:
-- a seal that is just being made has to be waited for.
SELECT unseal(ARRAY(SELECT run_id FROM runs WHERE experiment_id = $1));

-- name: set_tags
-- $1 experiment_id, $2 key[], $3 value[].
INSERT INTO experiment_tags (experiment_id, key, value)
SELECT $1, b.key, b.value FROM unnest($2::text[], $3::text[]) AS b (key, value)
ORDER BY b.key COLLATE "C"
ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value;

-- name: delete_tag
-- A row comes back if it was there. $1 experiment_id, $2 key.
DELETE FROM experiment_tags WHERE experiment_id = $1 AND key = $2 RETURNING key;

-- name: touch
-- $1 experiment_id, $2 now in ms.
UPDATE experiments SET updated_at_ms = $2 WHERE experiment_id = $1;
