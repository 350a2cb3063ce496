"""Placeholder until the face is written: the public API of ingest_client is re-exported here."""
