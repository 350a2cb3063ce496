"""`ingest config`."""

from __future__ import annotations

from ingest.cli.common import AsJson, Config, DatabaseUrl, DataDir, load, print_json, print_table


def config(
    *,
    config: Config = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting of the service, its value and where that comes from. Passwords are masked."""
    from ingest.settings import GROUPS, shown_value

    loaded = load(config, database_url=database_url, data_dir=data_dir)
    rows: list[dict[str, object]] = [
        {
            "group": group,
            "setting": name,
            "value": shown_value(loaded.settings, name),
            "origin": loaded.origins[name],
        }
        for group, model in GROUPS.items()
        for name in model.model_fields
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(("group", "setting", "value", "origin"), rows)
