-- What the live stream looks at (ingest/store/news.py): two short questions a second, whatever the number of watchers.

-- name: versions
-- $1 run_id[]: a number that grows with every stored batch of a run, and what of the run itself can change.
SELECT r.run_id, r.status, r.end_time_ms, w.version, w.points,
       (extract(epoch FROM COALESCE(w.heartbeat_at, r.heartbeat_at)) * 1000)::bigint AS heartbeat_ms
FROM runs AS r
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(last_seq), 0)::bigint AS version, COALESCE(sum(points), 0)::bigint AS points,
           max(heartbeat_at) AS heartbeat_at
    FROM writers
    WHERE run_id = r.run_id
) AS w
WHERE r.run_id = ANY ($1::uuid[]);

-- name: latest
-- $1 run_id[], $2 key[]: where these metrics of these runs stand.
SELECT run_id, key, n, last_step, last_time_ms, last_value
FROM series
WHERE run_id = ANY ($1::uuid[]) AND key = ANY ($2::text[])
LIMIT $3;
