"""`ingest serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ingest.cli.common import EXIT_USAGE, Config, DatabaseUrl, DataDir, fail, load


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one [5000].")] = None,
    database_url: DatabaseUrl = None,
    reader_database_url: Annotated[
        str | None, typer.Option(help="The same database as a role that may only read, for SQL over HTTP.")
    ] = None,
    data_dir: DataDir = None,
    artifact_root: Annotated[str | None, typer.Option(help="Directory or URL for artifacts.")] = None,
    artifact_mode: Annotated[
        str | None,
        typer.Option(help="proxied, or direct: MLflow's clients write to the store themselves [proxied]."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve requests [1].")] = None,
    allowed_hosts: Annotated[
        str | None, typer.Option(help="Host names that requests may carry, separated by commas.")
    ] = None,
    require_token: Annotated[
        bool | None,
        typer.Option(
            "--require-token/--no-require-token", help="Whether requests need a token [off loopback only]."
        ),
    ] = None,
    mlflow_ui: Annotated[
        bool | None,
        typer.Option(
            "--mlflow-ui/--no-mlflow-ui",
            help="Serve the user interface of the installed mlflow package at /mlflow [no].",
        ),
    ] = None,
    postgres_user: Annotated[
        str | None, typer.Option(help="User that runs the bundled PostgreSQL when started as root.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json [console].")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [info].")] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="File that receives the URL once requests are taken.")
    ] = None,
    config: Config = None,
) -> None:
    """Run the service: it takes batches, stores them in PostgreSQL and answers reads.

    Every option can also be set by environment variable, such as INGEST_PORT, or in ingest.toml; `ingest config` shows
    all settings, those without an option included, and where their values come from.
    """
    loaded = load(
        config,
        host=host,
        port=port,
        database_url=database_url,
        reader_database_url=reader_database_url,
        data_dir=data_dir,
        artifact_root=artifact_root,
        artifact_mode=artifact_mode,
        workers=workers,
        allowed_hosts=allowed_hosts,
        require_token=require_token,
        mlflow_ui=mlflow_ui,
        postgres_user=postgres_user,
        log_format=log_format,
        log_level=log_level,
        ready_file=ready_file,
    )
    if loaded.settings.mlflow_ui:
        from ingest.mlflow.ui_build import UiMissing, find_ui_build

        try:
            find_ui_build()
        except UiMissing as error:
            fail(error, code=EXIT_USAGE)
    from ingest.serve import serve as run_service

    raise typer.Exit(run_service(loaded.settings))
