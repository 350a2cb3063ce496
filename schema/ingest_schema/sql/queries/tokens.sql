-- Access tokens, and the questions that the service asks beside its work (ingest/store/housekeeping.py).

-- name: create_token
-- $1 token_id, $2 name, $3 role, $4 SHA-256 of the token, $5 expires_at or NULL.
INSERT INTO ingest.tokens (token_id, name, role, hash, expires_at) VALUES ($1, $2, $3, $4, $5);

-- name: list_tokens
-- All of them, oldest first; revoked and expired ones too.
SELECT token_id, name, role, created_at, expires_at, revoked_at, last_used_at,
       revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AS is_valid
FROM ingest.tokens
ORDER BY created_at, token_id;

-- name: revoke_token
-- $1 token_id, or the name of tokens still valid. Returns the revoked ones.
UPDATE ingest.tokens SET revoked_at = now()
WHERE revoked_at IS NULL AND (token_id::text = $1 OR name = $1)
RETURNING token_id, name, role;

-- name: delete_token
-- $1 token_id. For tokens that the service makes for a child process of its own: they leave no trace.
DELETE FROM ingest.tokens WHERE token_id = $1;

-- name: has_valid_token
SELECT EXISTS (
    SELECT FROM ingest.tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
);

-- name: find_token
-- $1 SHA-256. The valid token of this hash, with the seconds it is still valid; its use is noted once a minute.
WITH found AS (
    SELECT token_id, name, role, last_used_at, extract(epoch FROM expires_at - now())::float8 AS valid_seconds
    FROM ingest.tokens
    WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
), noted AS (
    UPDATE ingest.tokens AS t SET last_used_at = now()
    FROM found
    WHERE t.token_id = found.token_id
      AND (found.last_used_at IS NULL OR found.last_used_at < now() - interval '1 minute')
)
SELECT token_id, name, role, valid_seconds FROM found;

-- name: schema_version
-- A round trip that also says where the schema stands.
SELECT coalesce(max(number), 0) AS version FROM ingest.schema_migrations;

-- name: create_session
-- $1 SHA-256 of the cookie, $2 token_id, $3 seconds. Sessions that are over go with it.
WITH swept AS (
    DELETE FROM ingest.sessions WHERE expires_at < now()
)
INSERT INTO ingest.sessions (hash, token_id, expires_at) VALUES ($1, $2, now() + make_interval(secs => $3));

-- name: find_session
-- $1 SHA-256 of the cookie. The valid token behind it, with the seconds that the session is still valid.
SELECT t.token_id, t.name, t.role,
       extract(epoch FROM least(s.expires_at, t.expires_at) - now())::float8 AS valid_seconds
FROM ingest.sessions AS s
JOIN ingest.tokens AS t USING (token_id)
WHERE s.hash = $1 AND s.expires_at > now()
  AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now());

-- name: delete_session
-- $1 SHA-256 of the cookie.
DELETE FROM ingest.sessions WHERE hash = $1;
