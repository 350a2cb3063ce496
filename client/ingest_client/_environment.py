"""Where and out of what code a run comes: tags and files, taken in the background when it starts.

    tags     mlflow.source.name, mlflow.source.type, mlflow.source.git.commit, ingest.env.<name>
    files    environment/packages.txt, environment/environment.txt, and environment/git.diff if the working tree has changes

Secrets are masked (`_masking`) before anything is handed on. Called by `_system`'s thread only: git may take seconds on a network's file system,
and is given up after GIT_TIMEOUT; what it did not tell in time is left out. What was found out is kept for MAX_AGE seconds, so that a
sweep of short runs asks once.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest_client._masking import mask_arguments, mask_environment, mask_source, mask_text, secrets_of

__all__ = ["Git", "ask_git", "capture", "code_directory", "first_facts", "package_lines", "run_bounded"]

GIT_TIMEOUT: Final = 3.0
"""Seconds for one command of git."""
MAX_AGE: Final = 10.0
"""Seconds for which all runs of a process are told the same, unless folder, variables or Python's path have changed."""
MAX_DIFF_BYTES: Final = 1024 * 1024
MAX_COMMAND_CHARS: Final = 5_000
MAX_ENVIRONMENT_CHARS: Final = 256 * 1024
"""Of one variable's value; Linux allows 128 kB."""

_SEPARATORS: Final = re.compile(r"[-_.]+")


@dataclass(frozen=True, slots=True)
class Git:
    """What git says of the code. diff: of tracked files against the commit; None if git did not say in time."""

    commit: str
    branch: str | None
    diff: str | None


# --- this process -----------------------------------------------------------------------------------------------------


def first_facts(arguments: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """The tags that need no other program.

    Args:
        arguments: The whole command line, as `sys.orig_argv`.
        env: The environment.
    """
    known = secrets_of(env)
    kind, name = _source(env)
    system = os.uname()
    command = shlex.join(mask_arguments(arguments, known))
    if len(command) > MAX_COMMAND_CHARS:
        command = f"{command[:MAX_COMMAND_CHARS]} … ({len(command):,} characters)"
    return {
        "mlflow.source.name": mask_text(name, known),
        "mlflow.source.type": kind,
        "ingest.env.python": f"{sys.implementation.name} {sys.version.split()[0]}",
        "ingest.env.host": socket.gethostname() or "unknown",
        "ingest.env.platform": f"{system.sysname} {system.release} {system.machine}",
        "ingest.env.command": command,
    }


def capture(env: Mapping[str, str], directory: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The other tags, and the files by artifact path.

    Args:
        env: The environment.
        directory: Where the code is.
    """
    place = (directory, tuple(sys.path), frozenset(env.items()))
    taken, captured = _kept.get(place, (-MAX_AGE, None))
    if captured is None or time.monotonic() - taken >= MAX_AGE:
        captured = _capture(env, directory)
        _kept.clear()
        _kept[place] = time.monotonic(), captured
    return captured


_Place = tuple[Path, tuple[str, ...], frozenset[tuple[str, str]]]
_Captured = tuple[dict[str, str], dict[str, str]]
_kept: dict[_Place, tuple[float, _Captured]] = {}


def _capture(env: Mapping[str, str], directory: Path) -> _Captured:
    known = secrets_of(env)
    packages = package_lines(sys.path)
    tags = {"ingest.env.packages_num": str(len(packages))}
    files = {
        "environment/packages.txt": "".join(f"{line}\n" for line in packages),
        "environment/environment.txt": _environment_text(env),
    }
    git = ask_git(directory, env)
    if git is not None:
        tags["mlflow.source.git.commit"] = git.commit
        if git.branch is not None:
            tags["ingest.env.git_branch"] = git.branch
        if git.diff is not None:
            tags["ingest.env.git_dirty"] = "true" if git.diff else "false"
        if git.diff:
            files["environment/git.diff"] = mask_source(git.diff, known)
    return tags, files


def code_directory() -> Path:
    """The folder of the script; the working directory for a notebook or a prompt."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if isinstance(script, str) and not _is_notebook():
        folder = Path(script).resolve().parent
        if folder.is_dir():
            return folder
    return Path.cwd()


def _is_notebook() -> bool:
    return bool(sys.argv) and Path(sys.argv[0]).name in {"ipykernel_launcher.py", "colab_kernel_launcher.py"}


def _source(env: Mapping[str, str]) -> tuple[str, str]:
    """MLflow's type and name of what runs."""
    if _is_notebook():
        return "NOTEBOOK", env.get("JPY_SESSION_NAME") or "notebook"
    script = sys.argv[0] if sys.argv and sys.argv[0] not in {"", "-c", "-m"} else sys.executable
    return "LOCAL", script or "python"


def _environment_text(env: Mapping[str, str]) -> str:
    """One line a variable; line breaks in a value as a backslash and an n."""
    lines = []
    for name, value in sorted(mask_environment(env).items()):
        shown = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f"{name}={shown[:MAX_ENVIRONMENT_CHARS]}\n")
    return "".join(lines)


def package_lines(paths: Sequence[str]) -> list[str]:
    """Installed packages as `name==version`, in order. From the folders' names alone: reading their metadata takes a second.

    Args:
        paths: Where Python looks; of two versions the first is the one that is imported.
    """
    found: dict[str, str] = {}
    for path in paths:
        for name, version in _packages_in(path or "."):
            found.setdefault(name, version)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _packages_in(path: str) -> Iterator[tuple[str, str]]:
    try:
        names = os.listdir(path)
    except OSError:  # a zip file, or not there
        return
    for folder in names:
        stem, dot, kind = folder.rpartition(".")
        name, dash, rest = stem.partition("-")
        if dot and dash and kind in {"dist-info", "egg-info"}:
            version = rest.partition("-")[0]  # an egg's name ends in Python's version
            yield _SEPARATORS.sub("-", name).lower(), version


# --- git --------------------------------------------------------------------------------------------------------------


def ask_git(directory: Path, env: Mapping[str, str]) -> Git | None:
    """Commit, branch and changes of the working tree that holds the folder; None if it is in none, or git is not there."""
    commit = _git(directory, env, "rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    branch = _git(directory, env, "symbolic-ref", "--short", "-q", "HEAD")
    # From the top, so that the patch is of the whole tree, and nothing of the user's configuration in it.
    diff = _git(directory, env, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD", "--", ":/")
    return Git(commit.strip(), (branch or "").strip() or None, diff)


def _git(directory: Path, env: Mapping[str, str], *arguments: str) -> str | None:
    """What a command of git says, cut at MAX_DIFF_BYTES; None if it fails or takes too long."""
    # It takes no lock that a user's own git might meet, asks nobody, and starts no watcher.
    command = ["git", "-C", str(directory), "-c", "core.fsmonitor=false", *arguments]
    env = {**env, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    outcome = run_bounded(command, env, timeout=GIT_TIMEOUT, max_bytes=MAX_DIFF_BYTES)
    if outcome is None:
        return None
    text = outcome.decode("utf-8", "replace")
    if len(outcome) >= MAX_DIFF_BYTES:
        text = text[: text.rfind("\n") + 1] + f"[cut at {MAX_DIFF_BYTES:,} bytes]\n"
    return text


def run_bounded(
    command: Sequence[str], env: Mapping[str, str], *, timeout: float, max_bytes: int
) -> bytes | None:
    """Run a program; its output, or the first `max_bytes` of it; None if it fails or is not done after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,  # a Ctrl-C is not for it
        )
    except OSError:
        return None
    output = process.stdout
    assert output is not None  # noqa: S101 - it was asked for
    read = bytearray()
    is_whole = is_cut = False
    try:
        while not (is_whole or is_cut) and (left := deadline - time.monotonic()) > 0:
            if not select.select([output], [], [], left)[0]:
                break
            piece = os.read(output.fileno(), 65536)
            read += piece
            is_whole, is_cut = not piece, len(read) >= max_bytes
        if is_whole:
            process.wait(max(deadline - time.monotonic(), 0.1))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        is_whole = is_cut = False
    finally:
        output.close()
        if process.poll() is None:
            process.kill()
            process.wait()  # SIGKILL does not wait for the program's consent
    if is_cut:
        return bytes(read[:max_bytes])
    return bytes(read) if is_whole and process.returncode == 0 else None
