"""Settings: precedence, origins, refusals, and what may be printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ingest.settings import (
    CLIENT_VARIABLES,
    GROUPS,
    Settings,
    SettingsError,
    load_settings,
    mask_url,
    shown_value,
)

CLIENT = Path(__file__).parents[3] / "client" / "ingest_client"


def write_config(directory: Path, text: str) -> Path:
    path = directory / "ingest.toml"
    path.write_text(text)
    return path


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path, "[server]\nhost = '127.0.0.3'\nport = 1\nworkers = 2\n")
    monkeypatch.setenv("INGEST_PORT", "3")
    monkeypatch.setenv("INGEST_WORKERS", "4")

    loaded = load_settings({"workers": 5, "host": None}, cwd=tmp_path)

    assert (loaded.settings.host, loaded.settings.port, loaded.settings.workers) == ("127.0.0.3", 3, 5)
    assert loaded.origins["host"] == str(tmp_path / "ingest.toml")
    assert loaded.origins["port"] == "INGEST_PORT"
    assert loaded.origins["workers"] == "flag --workers"
    assert loaded.origins["log_level"] == "default"


def test_a_secret_can_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("postgresql://u:p@db/x\n")
    monkeypatch.setenv("INGEST_DATABASE_URL_FILE", str(tmp_path / "url"))

    loaded = load_settings(cwd=tmp_path)

    assert loaded.settings.database_url == "postgresql://u:p@db/x"
    assert loaded.origins["database_url"] == "INGEST_DATABASE_URL_FILE"


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGEST_PORT", "7")

    assert Settings().port == 5000


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("INGEST_PORT", "abc", r"port: .*'abc' \(from INGEST_PORT\)"),
        ("INGEST_PORT", "70000", "port: .*65535"),
        ("INGEST_DATABASE_URL", "mysql://u:hidden@db/x", "database_url: must be a URL such as postgresql://"),
        ("INGEST_LOG_FORMAT", "xml", "log_format: .*'console' or 'json'"),
        ("INGEST_POSTGRES_OPTIONS", "{", "postgres_options"),
        ("INGEST_DATABASE_URL_FILE", "/nowhere/at/all", "database_url: cannot read /nowhere/at/all"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_origin(
    variable: str, value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=said) as caught:
        load_settings(cwd=tmp_path)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nhots = 'x'\n", "no setting 'hots'; it has host"),
        ("[serv]\nhost = 'x'\n", r"\[serv\] is no group"),
        ("port = 1\n", r"\[port\] is no group"),
        ("[server\n", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(config=write_config(tmp_path, text))


def test_a_file_that_was_named_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read the settings file"):
        load_settings(config=tmp_path / "missing.toml")


def test_names_come_separated_by_commas_or_as_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_config(tmp_path, "[server]\nallowed_hosts = ['a', 'b']\n")
    assert load_settings(config=config).settings.allowed_hosts == ("a", "b")

    monkeypatch.setenv("INGEST_ALLOWED_HOSTS", "c, .d")
    assert load_settings(config=config).settings.allowed_hosts == ("c", ".d")


@pytest.mark.parametrize(
    ("host", "needed"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("::", True), ("10.0.0.1", True), ("box", True)],
)  # fmt: skip
def test_a_token_is_needed_off_loopback(host: str, needed: bool) -> None:
    assert Settings(host=host).needs_token is needed
    assert Settings(host=host, require_token=True).needs_token


def test_passwords_are_never_shown() -> None:
    settings = Settings(database_url="postgresql://u:topsecret@db/x?password=topsecret")

    assert "topsecret" not in repr(settings)
    assert shown_value(settings, "database_url") == "postgresql://u:***@db/x?password=***"
    assert mask_url("postgresql://ingest@/ingest?host=/run/x") == "postgresql://ingest@/ingest?host=/run/x"


def test_every_setting_stands_in_one_group_and_is_described() -> None:
    grouped = [name for group in GROUPS.values() for name in group.model_fields]

    assert sorted(grouped) == sorted(Settings.model_fields)
    assert [
        name
        for group in GROUPS.values()
        for name, field in group.model_fields.items()
        if not field.description
    ] == []


def test_a_variable_that_nothing_reads_is_named_with_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else says that INGEST_QUEUE_MAX_BYTE had no effect. The client's variables, and those that Kubernetes sets
    near a Service called ingest, are no mistakes."""
    for name in (
        "INGEST_QUEUE_MAX_BYTE",
        "INGEST_TOKEN",
        "INGEST_CONFIG",
        "INGEST_PORT_5000_TCP",
        "INGEST_SERVICE_HOST",
    ):
        monkeypatch.setenv(name, "")

    assert load_settings(cwd=tmp_path).warnings == (
        "no setting is called INGEST_QUEUE_MAX_BYTE; did you mean INGEST_QUEUE_MAX_BYTES?",
    )


def test_the_variables_of_the_client_are_known() -> None:
    read = re.findall(r"INGEST_[A-Z_]+", "".join(path.read_text() for path in CLIENT.glob("*.py")))

    ours = {"INGEST_" + name.upper() for name in Settings.model_fields}  # hints in messages name them too
    assert set(read) - ours == CLIENT_VARIABLES
