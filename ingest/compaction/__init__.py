"""Compaction: small chunks of a series become rows of about a thousand sorted points, in the background.

    plan     which chunks go together, pure
    worker   compaction of whatever is worth it, for the two that follow
    thinning which points of a series stay when old runs are thinned, pure
    retention  rules of experiments, applied
    upkeep   the background task of `ingest serve`

What happens in the database is in `ingest.store.compaction`.
"""
