-- 0004 pre: what was settled of resumed runs, so that series stop counting superseded points
-- Why:    after a resume from step S the latest value of a metric may be a superseded one of a later step
-- Safe:   the last release does not name the table
-- Locks:  SHARE on writers while its small index is made; gives up after lock_timeout, run it again
-- Cost:   < 1 s for a million writers, of which the index holds those that resumed
-- Undo:   DROP TABLE settled_attempts; DROP INDEX writers_resumed;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

CREATE TABLE settled_attempts (
    run_id  uuid PRIMARY KEY,
    attempt int NOT NULL,
    points  bigint NOT NULL
);
COMMENT ON TABLE settled_attempts IS 'Resumed runs whose series count superseded points no more.';
COMMENT ON COLUMN settled_attempts.attempt IS 'The newest attempt that was taken into account.';
COMMENT ON COLUMN settled_attempts.points IS 'Points of all earlier attempts then: more mean that late ones came, to be taken off again.';

CREATE INDEX writers_resumed ON writers (run_id) WHERE resume_from_step IS NOT NULL;
