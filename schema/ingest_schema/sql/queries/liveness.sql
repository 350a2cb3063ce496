-- Runs whose writers fell silent (ingest/store/liveness.py). Only writers that send heartbeats count: posts have none.

-- name: mark_lost
-- RUNNING runs of which no writer was heard of for $1 seconds; heartbeat_at becomes when the last one was. At most $2.
-- Where a rank has ended the run and others vanished without a word, the run gets the end of the lowest that did.
UPDATE runs AS r
SET status = coalesce(s.ends[1], 'LOST'), heartbeat_at = s.last_seen,
    end_time_ms = CASE WHEN s.ends[1] IS NULL THEN r.end_time_ms ELSE s.ended_at_ms END
FROM (
    SELECT q.run_id, max(w.heartbeat_at) AS last_seen, max(w.ended_at_ms) AS ended_at_ms,
           array_agg(w.end_status ORDER BY w.rank, w.ended_at_ms DESC) FILTER (
               WHERE w.end_status IS NOT NULL
                 AND w.ended_at_ms >= (SELECT max(o.started_at_ms) FROM writers AS o WHERE o.run_id = q.run_id)
           ) AS ends
    FROM runs AS q
    JOIN writers AS w ON w.run_id = q.run_id
    WHERE q.status = 'RUNNING'
    GROUP BY q.run_id
    HAVING max(w.heartbeat_at) < now() - make_interval(secs => $1) AND bool_and(w.client <> 'post')
    LIMIT $2
) AS s
WHERE r.run_id = s.run_id AND r.status = 'RUNNING'
RETURNING r.run_id, r.heartbeat_at, r.status;

-- name: revive
-- LOST runs that were heard of since are RUNNING again. $1 seconds as in mark_lost, $2 at most.
UPDATE runs AS r
SET status = 'RUNNING', heartbeat_at = s.last_seen
FROM (
    SELECT q.run_id, max(w.heartbeat_at) AS last_seen
    FROM runs AS q
    JOIN writers AS w ON w.run_id = q.run_id
    WHERE q.status = 'LOST'
    GROUP BY q.run_id, q.heartbeat_at
    HAVING max(w.heartbeat_at) > q.heartbeat_at AND max(w.heartbeat_at) >= now() - make_interval(secs => $1)
    LIMIT $2
) AS s
WHERE r.run_id = s.run_id AND r.status = 'LOST'
RETURNING r.run_id;

-- name: unseal
-- Searches read runs at rest from segments (migration 0003): these changed. $1 run_id[]; their rows are locked.
SELECT unseal($1::uuid[]);
