"""Out and in: whole experiments as files, and back.

    layout      what an export consists of: its files, their columns, the manifest
    points      reading the points of a run in their canonical order
    contents    everything of a run as bytes that are the same wherever it lies: its digest
    export      `ingest export`            load      `ingest import` of an export

    feeding     runs of other tools: each source becomes a writer of its run, and goes the way of every batch
    mlflow_source, from_mlflow_files, from_mlflow_sql, from_mlflow_rest, from_tensorboard (tfevents), from_csv: `ingest import mlflow` …

An export is a directory of Parquet (or CSV) files and a manifest; what it means stands in docs/transfer.md.
"""

from __future__ import annotations
