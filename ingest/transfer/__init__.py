"""Out and in: whole experiments as files, and back.

    layout      what an export consists of: its files, their columns, the manifest
    points      reading the points of a run in their canonical order
    contents    everything of a run as bytes that are the same wherever it lies: its digest
    export      `ingest export`            load      `ingest import` of an export

    feeding     runs of other tools: each source becomes a writer of its run, and goes the way of every batch (files_in, taken)
    from_tensorboard (tfevents), from_csv: `ingest import tensorboard`, `ingest import csv`
    mlflow_source       what a store of MLflow's tells: from_mlflow_files (mlruns, from_mlflow_model_files), from_mlflow_sql (mlflow_rows),
                        from_mlflow_rest (mlflow_rest)
    mlflow_intake       `ingest import mlflow`: what becomes of it here (mlflow_models, mlflow_places)

An export is a directory of Parquet (or CSV) files and a manifest; what it means stands in docs/transfer.md.
"""

from __future__ import annotations
