-- Around users' SQL (ingest/store/user_sql.py); the statements themselves are theirs.

-- name: end_backend
-- $1 pid, of a session of the same role.
SELECT pg_terminate_backend($1);
