"""What can go wrong with artifacts. The text is for people; each API picks its status by the class.

ArtifactError
 ├─ UnsafePath          the path is refused whatever the store holds
 ├─ ArtifactUnknown     there is no such file
 ├─ IsDirectory         a file was asked for, and the path is a directory
 ├─ PathTaken           a file stands where a directory is needed, or the other way round
 ├─ ContentDiffers      the bytes are not what they were said to be; nothing was kept
 ├─ SizeDiffers         nor is their number
 ├─ UploadUnknown       it was never begun, was aborted, or swept
 ├─ PartRefused         its number is out of range
 ├─ PartsMissing        an upload can't be completed yet
 ├─ TooManyFiles        for one archive
 ├─ TooManyTransfers    in this process at once; come again
 ├─ Unsupported         the store can't do this
 ├─ StoreFull           no room left; nothing was kept
 ├─ StoreUnavailable    it does not answer, or refuses us; come again
 └─ StoreMisconfigured  the setting `artifact_root` can't work; raised at start only
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "ArtifactUnknown",
    "ContentDiffers",
    "IsDirectory",
    "PartRefused",
    "PartsMissing",
    "PathTaken",
    "SizeDiffers",
    "StoreFull",
    "StoreMisconfigured",
    "StoreUnavailable",
    "TooManyFiles",
    "TooManyTransfers",
    "UnsafePath",
    "Unsupported",
    "UploadUnknown",
]


class ArtifactError(Exception):
    """Base of all errors here. Nothing half-written is left where a reader could see it."""


class UnsafePath(ArtifactError):
    """The path is refused. `reason` says which rule it breaks."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path[:200]!r} is no path of an artifact: {reason}")
        self.path = path
        self.reason = reason


class ArtifactUnknown(ArtifactError):
    """There is no such file."""

    def __init__(self, path: str) -> None:
        super().__init__(f"there is no artifact {path!r}")
        self.path = path


class IsDirectory(ArtifactError):
    """The path is a directory."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path!r} is a directory, not a file")
        self.path = path


class PathTaken(ArtifactError):
    """Something of another kind stands there."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path!r} can't be written: {reason}")
        self.path = path


class ContentDiffers(ArtifactError):
    """The SHA-256 of what arrived is another one than was announced."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(
            f"the content of {path!r} has SHA-256 {found}, not {expected}; nothing was kept, send it again"
        )
        self.expected = expected
        self.found = found


class SizeDiffers(ArtifactError):
    """More or fewer bytes arrived than were announced."""

    def __init__(self, what: str, expected_bytes: int, found_bytes: int) -> None:
        super().__init__(
            f"{what} has {found_bytes:,} bytes or more, not {expected_bytes:,}; nothing was kept"
            if found_bytes > expected_bytes
            else f"{what} has {found_bytes:,} bytes, not {expected_bytes:,}; nothing was kept"
        )
        self.expected_bytes = expected_bytes
        self.found_bytes = found_bytes


class UploadUnknown(ArtifactError):
    """There is no such open upload."""

    def __init__(self, upload_id: str) -> None:
        super().__init__(
            f"there is no open upload {upload_id[:64]!r}; begin it again, parts are kept for a day"
        )
        self.upload_id = upload_id


class PartRefused(ArtifactError):
    """A part that the upload does not have."""


class PartsMissing(ArtifactError):
    """Parts have not arrived. `missing`: the first of their numbers."""

    def __init__(self, missing: tuple[int, ...], missing_num: int) -> None:
        shown = ", ".join(map(str, missing)) + (", …" if missing_num > len(missing) else "")
        super().__init__(f"{missing_num} parts have not arrived yet: {shown}")
        self.missing = missing
        self.missing_num = missing_num


class TooManyFiles(ArtifactError):
    """An archive would have more files than one may."""


class TooManyTransfers(ArtifactError):
    """All places for transfers are taken."""


class Unsupported(ArtifactError):
    """This store has no such thing."""


class StoreFull(ArtifactError):
    """The disk, the quota or the bucket is full."""


class StoreUnavailable(ArtifactError):
    """The store can't be reached, does not answer in time, or does not let us in."""


class StoreMisconfigured(ArtifactError):
    """No store can be made of the settings."""
