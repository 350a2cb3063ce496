-- 0005 pre: sessions of browsers, and saved queries
-- Why:    the dashboard's login: a cookie in place of the token, which no script can read; its SQL page keeps queries by name
-- Safe:   creates only
-- Locks:  a foreign key on tokens: SHARE ROW EXCLUSIVE for an instant
-- Cost:   < 50 ms
-- Undo:   DROP TABLE sessions, saved_queries;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

CREATE TABLE sessions (
    hash       bytea PRIMARY KEY,
    token_id   uuid NOT NULL REFERENCES tokens ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
COMMENT ON TABLE sessions IS 'Browsers that logged in by a token; only the SHA-256 of each cookie is kept. A session ends with its token.';

CREATE TABLE saved_queries (
    name       text COLLATE "C" PRIMARY KEY,
    sql        text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL DEFAULT ''
);
COMMENT ON TABLE saved_queries IS 'SQL that the team keeps by name, for the dashboard.';
COMMENT ON COLUMN saved_queries.updated_by IS 'Name of the token that saved it last.';
