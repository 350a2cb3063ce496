"""Compaction: small chunks of a series become rows of about a thousand sorted points, in the background.

    plan     which chunks go together, pure
    worker   the background task of `ingest serve`, and `ingest compact`

What happens in the database is in `ingest.store.compaction`.
"""
