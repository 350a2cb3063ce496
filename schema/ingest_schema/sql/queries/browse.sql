-- What people choose from before they search: keys that runs have, runs that experiments have.

-- name: newest_runs
-- Ids of the newest runs of $1 experiments, or of all if that is NULL; at most $2.
SELECT run_id
FROM runs
WHERE lifecycle = 'active' AND ($1::bigint[] IS NULL OR experiment_id = ANY ($1))
ORDER BY start_time_ms DESC, run_id
LIMIT $2;

-- name: metric_keys
-- Different keys of the metrics of $1 run ids; like $2 and matching $3, each NULL for any; after $4, at most $5.
SELECT key, count(*) AS runs
FROM series
WHERE run_id = ANY ($1::uuid[]) AND key > $4 AND ($2::text IS NULL OR key ILIKE $2) AND ($3::text IS NULL OR key ~ $3)
GROUP BY key
ORDER BY key
LIMIT $5;

-- name: param_keys
-- The same of params.
SELECT key, count(*) AS runs
FROM params
WHERE run_id = ANY ($1::uuid[]) AND key > $4 AND ($2::text IS NULL OR key ILIKE $2) AND ($3::text IS NULL OR key ~ $3)
GROUP BY key
ORDER BY key
LIMIT $5;

-- name: tag_keys
-- The same of tags.
SELECT key, count(*) AS runs
FROM tags
WHERE run_id = ANY ($1::uuid[]) AND key > $4 AND ($2::text IS NULL OR key ILIKE $2) AND ($3::text IS NULL OR key ~ $3)
GROUP BY key
ORDER BY key
LIMIT $5;

-- name: ranks
-- The ranks of the writers of $1 run ids, of those runs that have several.
SELECT run_id, array_agg(DISTINCT rank ORDER BY rank) AS ranks
FROM writers
WHERE run_id = ANY ($1::uuid[])
GROUP BY run_id
HAVING count(DISTINCT rank) > 1;

-- name: runs_per_experiment
-- How many active runs each experiment has, how many of them run, and when the last one started.
SELECT experiment_id, count(*) AS runs, count(*) FILTER (WHERE status = 'RUNNING') AS running,
       max(start_time_ms) AS last_start_ms
FROM runs
WHERE lifecycle = 'active'
GROUP BY experiment_id;
