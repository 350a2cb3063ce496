"""Which paths are safe, and whose they are. Pure: texts in, texts out; no store is asked.

A path of a run's artifact is relative to the run, with `/` between its names. In the store it stands below

    <experiment_id>/<run_id>/artifacts/…          <experiment_id>/models/<model_id>/artifacts/…

and everything else in the store belongs to the service (`.uploads`). The service makes these prefixes from ids that it
looked up; what a client sends is only the rest, and that is judged here: as it is, and once more for whatever it becomes
when percent escapes in it are decoded, again and again, since somebody on the way to a file might do so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote
from uuid import UUID

from ingest.artifacts.errors import UnsafePath

__all__ = [
    "MAX_NAME_BYTES",
    "MAX_PATH_BYTES",
    "SCRATCH",
    "WORK_AREA",
    "Place",
    "check_path",
    "check_prefix",
    "join",
    "model_prefix",
    "name_of",
    "parse_place",
    "run_prefix",
]

WORK_AREA: Final = ".uploads"
"""Where unfinished files are. No place of a run begins with a dot, so no client can name it."""
SCRATCH: Final = "tmp-"
"""Names in the work area begin so if they are files that are being written; directories there are uploads in parts."""
MAX_PATH_BYTES: Final = 900
"""In UTF-8. Keys of S3 may have 1,024 bytes, and the prefixes of the root and of the run need their part."""
MAX_NAME_BYTES: Final = 240
"""Of one name in a path: file systems take 255."""
MAX_DECODINGS: Final = 10

_DRIVE: Final = re.compile(r"[A-Za-z]:")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_IMAGE_STEP: Final = re.compile(r"%step%[0-9]+%timestamp%[0-9]+%")
"""In names that `log_image` of MLflow 2 makes: nobody decodes these, and the 23rd step is no #."""
_MODEL_ID: Final = re.compile(r"m-[0-9a-f]{32}")
_PLACE: Final = re.compile(
    r"(?P<experiment>0|[1-9][0-9]{0,18})/(?:(?P<run>[0-9a-f]{32})|models/(?P<model>m-[0-9a-f]{32}))"
    r"/artifacts(?:/(?P<rest>.*))?",
    re.DOTALL,
)


def check_path(path: str) -> str:
    """The path itself, if it may name a file below a run or a model.

    Raises:
        UnsafePath: It is empty, too long, or leads, or may be made to lead, to somewhere else.
    """
    if not path:
        raise UnsafePath(path, "it is empty")
    _check_structure(path, path)
    if (found := _CONTROL.search(path)) is not None:
        raise UnsafePath(path, f"it holds the control character U+{ord(found.group()):04X}")
    try:
        names = [name.encode() for name in path.split("/")]
    except UnicodeEncodeError as error:
        raise UnsafePath(path, "it is no UTF-8") from error
    if sum(map(len, names)) + len(names) - 1 > MAX_PATH_BYTES:
        raise UnsafePath(path, f"it is longer than {MAX_PATH_BYTES} bytes")
    if any(len(name) > MAX_NAME_BYTES for name in names):
        raise UnsafePath(path, f"a name in it is longer than {MAX_NAME_BYTES} bytes")
    _check_decoded(path)
    return path


def check_prefix(path: str) -> str:
    """The same for a directory: empty is the whole, and one `/` at the end does not matter."""
    path = path.removesuffix("/")
    return check_path(path) if path else ""


def _check_structure(shown: str, path: str) -> None:
    """Separators and names. shown: the path for the message."""
    if "\\" in path:
        raise UnsafePath(shown, "it holds a backslash")
    if "#" in path:
        raise UnsafePath(shown, "it holds a #, which cuts URLs")
    if path.startswith("/"):
        raise UnsafePath(shown, "it is absolute")
    if _DRIVE.match(path):
        raise UnsafePath(shown, "it begins with a drive letter")
    for name in path.split("/"):
        if name in {".", ".."}:
            raise UnsafePath(shown, f"it holds the name {name!r}")
        if not name:
            raise UnsafePath(shown, "it holds an empty name")


def _check_decoded(path: str) -> None:
    """The path with percent escapes decoded, once, twice and so on, must not lead elsewhere either."""
    before = _IMAGE_STEP.sub("+", path)
    for _ in range(MAX_DECODINGS):
        # Invalid UTF-8 stays what it is, so that it can't hide anything.
        after = unquote(before, errors="surrogateescape")
        if after == before:
            return
        if "\0" in after:
            raise UnsafePath(path, "it holds an encoded NUL")
        _check_structure(path, after)
        before = after
    raise UnsafePath(path, "its percent escapes are nested too deeply")


def join(prefix: str, path: str) -> str:
    """A path below a prefix; both may be empty. Neither is checked."""
    return f"{prefix}/{path}" if prefix and path else prefix or path


def name_of(path: str) -> str:
    """The last name of a path."""
    return path.rpartition("/")[2]


def run_prefix(experiment_id: int, run_id: UUID) -> str:
    """Where a run's artifacts begin."""
    return f"{experiment_id}/{run_id.hex}/artifacts"


def model_prefix(experiment_id: int, model_id: str) -> str:
    """Where a logged model's artifacts begin.

    Raises:
        UnsafePath: The id is none.
    """
    if not _MODEL_ID.fullmatch(model_id):
        raise UnsafePath(model_id, "a model's id is m- and 32 hex digits")
    return f"{experiment_id}/models/{model_id}/artifacts"


@dataclass(frozen=True, slots=True)
class Place:
    """A path of the store, taken apart. Exactly one of run_id and model_id is not None; rest may be empty."""

    experiment_id: int
    run_id: UUID | None
    model_id: str | None
    rest: str

    @property
    def prefix(self) -> str:
        if self.run_id is not None:
            return run_prefix(self.experiment_id, self.run_id)
        return model_prefix(self.experiment_id, self.model_id or "")

    @property
    def path(self) -> str:
        return join(self.prefix, self.rest)


def parse_place(path: str) -> Place | None:
    """Whose artifact a path of the store is, as MLflow's client sends it; None: it stands below no run and no model.

    Raises:
        UnsafePath: Nothing may be looked for there.
    """
    path = check_prefix(path)
    found = _PLACE.fullmatch(path)
    if found is None:
        return None
    run = found["run"]
    return Place(
        experiment_id=int(found["experiment"]),
        run_id=UUID(run) if run else None,
        model_id=found["model"],
        rest=found["rest"] or "",
    )
