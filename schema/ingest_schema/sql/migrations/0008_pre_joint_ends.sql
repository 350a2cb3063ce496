-- 0008 pre: how each writer ended its run, so that a run of several ranks ends when all of them are done
-- Why:    of N ranks the first that ended made the run FINISHED, while the others went on
-- Safe:   the last release does not name the column
-- Locks:  ACCESS EXCLUSIVE on writers, catalogue only; gives up after lock_timeout, run it again
-- Cost:   milliseconds, no row is rewritten
-- Undo:   ALTER TABLE writers DROP COLUMN end_status;
-- Next:   -

SET search_path = ingest;
SET lock_timeout = '2s';

ALTER TABLE writers ADD COLUMN end_status text;
COMMENT ON COLUMN writers.end_status IS 'The status with which this writer ended the run; NULL if it did not, or only ended itself.';
