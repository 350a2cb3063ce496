"""The command line: what it prints, in which form, with which exit code, and that it gives no password away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StartService, run_ingest

BLOCK_EXTRA = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise ModuleNotFoundError("No module named 'typer'", name="typer")
sys.meta_path.insert(0, Missing())
from ingest.cli import main
main()
"""


def test_without_the_extra_it_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK_EXTRA], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: the command line needs the extra `server`, and typer is not installed; "
        "run: pip install 'metric-ingest[server]'"
    )


@pytest.mark.parametrize("command", ["serve", "migrate", "config", "token", "doctor"])
def test_every_command_explains_itself(command: str) -> None:
    assert run_ingest(command, "--help").returncode == 0


def test_config_shows_values_and_origins_and_masks_passwords(tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text("[server]\nport = 1234\n")
    shown = run_ingest(
        "config", "--json", "--config", str(config), INGEST_DATABASE_URL="postgresql://u:topsecret@db/x"
    )

    rows = {row["setting"]: row for row in json.loads(shown.stdout)}
    assert (rows["port"]["value"], rows["port"]["origin"]) == (1234, str(config))
    assert (rows["database_url"]["value"], rows["database_url"]["origin"]) == (
        "postgresql://u:***@db/x",
        "INGEST_DATABASE_URL",
    )
    assert rows["workers"]["origin"] == "default"
    assert "topsecret" not in run_ingest("config", INGEST_DATABASE_URL="postgresql://u:topsecret@db/x").stdout


def test_a_bad_setting_is_one_line_and_code_2() -> None:
    done = run_ingest("serve", INGEST_PORT="x")

    assert done.returncode == 2
    assert done.stderr.startswith("error: port: ")
    assert len(done.stderr.splitlines()) == 1


def test_migrate_says_what_it_would_do_and_then_does_it(empty_database_url: str) -> None:
    dry = run_ingest("migrate", "--database-url", empty_database_url, "--dry-run")
    done = run_ingest("migrate", "--database-url", empty_database_url)
    again = run_ingest("migrate", "--database-url", empty_database_url)

    assert "would apply 0001_pre_" in dry.stdout
    assert "applied 0001_pre_" in done.stdout
    assert "nothing to do" in again.stdout


def test_a_token_can_be_made_before_the_bundled_service_ever_ran(scratch: Path) -> None:
    made = run_ingest(
        "token", "create", "first", "--role", "admin", "--json", "--data-dir", str(scratch / "data")
    )

    token = json.loads(made.stdout)
    assert (token["name"], token["role"]) == ("first", "admin")
    assert token["token"].startswith("ingest_")


def test_commands_use_the_database_of_a_running_service(start_service: StartService, scratch: Path) -> None:
    start_service()
    data_dir = str(scratch / "data")

    assert run_ingest("token", "create", "x", "--role", "read", "--data-dir", data_dir).returncode == 0
    listed = json.loads(run_ingest("token", "list", "--json", "--data-dir", data_dir).stdout)
    assert [token["name"] for token in listed] == ["x"]
    table = run_ingest("token", "list", "--data-dir", data_dir, COLUMNS="80").stdout
    assert listed[0]["token_id"] in table
    assert "valid" in table


def test_an_unreachable_database_is_one_line(tmp_path: Path) -> None:
    done = run_ingest("token", "list", "--database-url", "postgresql://u:topsecret@127.0.0.1:1/x")

    assert done.returncode == 1
    assert "error: PostgreSQL can't be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert "topsecret" not in done.stderr


def test_doctor_finds_a_healthy_service_and_a_sick_one(
    start_service: StartService, database_url: str, tmp_path: Path
) -> None:
    service = start_service("--database-url", database_url)
    port = service.url.rpartition(":")[2]
    healthy = run_ingest("doctor", "--json", "--database-url", database_url, INGEST_PORT=port)
    findings = {finding["check"]: finding["outcome"] for finding in json.loads(healthy.stdout)}
    assert healthy.returncode == 0
    assert {findings[check] for check in ("python", "data directory", "database", "schema", "service")} == {
        "ok"
    }

    sick = run_ingest(
        "doctor", "--json", "--database-url", "postgresql://u:topsecret@127.0.0.1:1/x", INGEST_PORT=port
    )
    assert sick.returncode == 1
    assert "topsecret" not in sick.stdout
    assert os.listdir(tmp_path) == []
