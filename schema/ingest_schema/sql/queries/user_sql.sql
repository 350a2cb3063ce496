-- Around users' SQL (ingest/store/user_sql.py); the statements themselves are theirs.

-- name: end_backend
-- $1 pid, of a session of the same role.
SELECT pg_terminate_backend($1);

-- name: schema
-- What the role that asks may read: relations of our schema with their comments and columns, views first.
SELECT c.relname AS name,
       CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END AS kind,
       obj_description(c.oid, 'pg_class') AS comment,
       (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                                            'comment', col_description(c.oid, a.attnum)) ORDER BY a.attnum)
        FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM pg_class AS c
WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind IN ('r', 'v', 'p', 'm')
  AND has_table_privilege(c.oid, 'SELECT')
ORDER BY c.relkind <> 'v', c.relname;
