"""The dashboard's static files, and how they are put together to be served. See `ingest.dashboard.assets`."""
