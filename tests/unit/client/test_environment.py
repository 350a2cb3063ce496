"""What is found out about the code of a run: with real git in a repository of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest_client import _environment
from ingest_client._environment import ask_git, capture, first_facts, package_lines, run_bounded

ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch):
    """And git may take as long as it does on a busy machine; that it may not for ever has a test of its own."""
    _environment._kept.clear()
    monkeypatch.setattr(_environment, "GIT_TIMEOUT", 60.0)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("lr = 0.1\n")
    (tmp_path / "deep").mkdir()
    author = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    for arguments in (["init", "-q", "-b", "topic"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, env=ENV | author, check=True, timeout=150)
    return tmp_path


def test_commit_and_branch_of_a_clean_tree(repository: Path):
    (repository / "untracked.txt").write_text("is no change of the code")
    tags, files = capture(ENV, repository / "deep")
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["ingest.env.git_branch"] == "topic"
    assert tags["ingest.env.git_dirty"] == "false"
    assert set(files) == {"environment/packages.txt", "environment/environment.txt"}
    assert tags["ingest.env.packages_num"] == str(files["environment/packages.txt"].count("\n"))
    assert "\npytest==" in files["environment/packages.txt"]


def test_changes_of_the_whole_tree_are_kept_and_masked(repository: Path):
    (repository / "train.py").write_text('lr = 0.2\nurl = "postgres://me:hunter22@db/x"\nx = "tr0ub4dor"\n')
    tags, files = capture(ENV | {"DB_PASSWORD": "tr0ub4dor"}, repository / "deep")
    assert tags["ingest.env.git_dirty"] == "true"
    assert "-lr = 0.1\n+lr = 0.2\n" in files["environment/git.diff"]
    assert not [text for text in files.values() if "hunter22" in text or "tr0ub4dor" in text]
    assert "DB_PASSWORD=***\n" in files["environment/environment.txt"]


def test_a_large_diff_is_cut(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_environment, "MAX_DIFF_BYTES", 1000)
    (repository / "train.py").write_text("x = 1\n" * 5000)
    git = ask_git(repository, ENV)
    assert git is not None
    assert git.diff is not None
    assert len(git.diff) < 1100
    assert git.diff.endswith("\n[cut at 1,000 bytes]\n")


def test_outside_a_repository_there_are_no_facts_of_git(tmp_path: Path):
    tags, files = capture(ENV | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}, tmp_path)
    assert not [key for key in tags if "git" in key]
    assert "environment/git.diff" not in files


def test_a_sweep_of_short_runs_asks_once(repository: Path):
    """Every run of it is told the same; other variables, or ten seconds later, and all is asked anew."""
    first = capture(ENV, repository)
    (repository / "train.py").write_text("changed\n")
    assert capture(ENV, repository) is first
    assert capture({**ENV, "SEED": "1"}, repository) != first
    again = capture(ENV, repository)
    assert again != first
    ((place, kept),) = _environment._kept.items()
    _environment._kept[place] = (kept[0] - _environment.MAX_AGE, kept[1])
    assert capture(ENV, repository) is not again


def test_a_git_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(_environment, "GIT_TIMEOUT", 0.2)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    began = time.monotonic()
    assert ask_git(tmp_path, {"PATH": os.environ["PATH"]}) is None
    assert time.monotonic() - began < 30


def test_no_git_at_all_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_git(tmp_path, {"PATH": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("source", "timeout", "expected"),
    [
        ("print('x' * 5)", 60.0, b"xxxxx\n"),
        ("import sys; sys.exit(3)", 60.0, None),
        ("import sys; print('x', flush=True); import time; time.sleep(60)", 1.0, None),
        ("import os; os.close(1); import time; time.sleep(60)", 1.0, None),
        ("print('y' * 10_000_000)", 60.0, b"y" * 1000),
    ],
    ids=["done", "failed", "hangs", "hangs with its output closed", "too much"],
)
def test_a_program_is_bounded_in_time_and_output(source: str, timeout: float, expected: bytes | None):
    began = time.monotonic()
    found = run_bounded([sys.executable, "-c", source], os.environ, timeout=timeout, max_bytes=1000)
    assert found == expected
    assert time.monotonic() - began < 40


def test_the_first_facts_name_the_script_and_mask_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["t.py"])
    tags = first_facts(["python", "t.py", "--api-key", "k3y", "a b"], {"JPY_SESSION_NAME": "n.ipynb"})
    assert tags["ingest.env.command"] == "python t.py --api-key '***' 'a b'"
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.source.name"] == "t.py"
    assert tags["ingest.env.python"] == f"cpython {sys.version.split()[0]}"


def test_a_notebook_is_called_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["/x/ipykernel_launcher.py", "-f", "kernel.json"])
    tags = first_facts(["python"], {"JPY_SESSION_NAME": "/home/me/train.ipynb"})
    assert (tags["mlflow.source.type"], tags["mlflow.source.name"]) == ("NOTEBOOK", "/home/me/train.ipynb")
    assert _environment.code_directory() == Path.cwd()


def test_of_two_versions_the_one_that_is_imported_is_named(tmp_path: Path):
    for folder in (
        "a/Typing_Extensions-4.1.dist-info",
        "b/typing_extensions-3.0.dist-info",
        "b/old.pkg-1.0-py3.11.egg-info",
        "b/x.egg-info",
    ):
        (tmp_path / folder).mkdir(parents=True)
    paths = [str(tmp_path / "a"), str(tmp_path / "missing.zip"), str(tmp_path / "b")]
    assert package_lines(paths) == ["old-pkg==1.0", "typing-extensions==4.1"]


def test_line_breaks_of_a_variable_make_no_lines(tmp_path: Path):
    _, files = capture(ENV | {"A": "1\nTOKEN=forged"}, tmp_path)
    assert "A=1\\nTOKEN=***\n" in files["environment/environment.txt"]
