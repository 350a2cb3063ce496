-- What the operations page shows of the whole database, whichever service wrote it (ingest/store/operations.py).

-- name: tables
-- Bytes of each of our tables with its indexes and arrays out of line; rows as the last ANALYZE estimated them.
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes, pg_indexes_size(c.oid) AS index_bytes,
       greatest(c.reltuples, 0)::bigint AS rows_estimate
FROM pg_class AS c
WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY bytes DESC, name;

-- name: database_bytes
SELECT pg_database_size(current_database()) AS bytes;

-- name: writers
-- $1 seconds of silence after which a writer counts as silent. backlog: points that clients say they hold.
SELECT count(*) AS total,
       coalesce(sum(points), 0)::bigint AS points,
       count(*) FILTER (WHERE ended_at_ms IS NULL AND heartbeat_at > now() - make_interval(secs => $1)) AS alive,
       count(DISTINCT run_id) FILTER (WHERE ended_at_ms IS NULL AND heartbeat_at > now() - make_interval(secs => $1))
           AS alive_runs,
       coalesce(sum((stats ->> 'spooled')::bigint) FILTER (
           WHERE ended_at_ms IS NULL AND heartbeat_at > now() - make_interval(secs => $1)
             AND jsonb_typeof(stats -> 'spooled') = 'number'), 0)::bigint AS backlog
FROM writers;

-- name: runs
-- How many there are by status, and how many stand sealed by columns for searches.
SELECT status, lifecycle, count(*) AS runs, count(segment_id) AS sealed
FROM runs
GROUP BY status, lifecycle
ORDER BY status, lifecycle;

-- name: largest_runs
-- $1 most of them: the runs with most points.
SELECT r.run_id, r.name, r.experiment_id, e.name AS experiment, r.status, w.points
FROM (
    SELECT run_id, sum(points)::bigint AS points FROM writers GROUP BY run_id ORDER BY points DESC, run_id LIMIT $1
) AS w
JOIN runs AS r USING (run_id)
JOIN experiments AS e USING (experiment_id)
WHERE w.points > 0
ORDER BY w.points DESC, r.run_id;

-- name: largest_experiments
-- $1 most of them: the experiments with most points.
SELECT e.experiment_id, e.name, e.lifecycle, x.runs, x.points
FROM (
    SELECT r.experiment_id, count(DISTINCT r.run_id) AS runs, coalesce(sum(w.points), 0)::bigint AS points
    FROM runs AS r
    LEFT JOIN (SELECT run_id, sum(points) AS points FROM writers GROUP BY run_id) AS w USING (run_id)
    GROUP BY r.experiment_id
    ORDER BY points DESC, r.experiment_id
    LIMIT $1
) AS x
JOIN experiments AS e USING (experiment_id)
ORDER BY x.points DESC, e.experiment_id;

-- name: sessions
-- Connections to this database by what they are for.
SELECT application_name AS name, count(*) AS connections, count(*) FILTER (WHERE state = 'active') AS active
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
GROUP BY application_name
ORDER BY connections DESC, name;
