"""The non-blocking client of ingest."""
