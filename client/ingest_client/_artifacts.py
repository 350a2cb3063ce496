"""Logging artifacts: what turns files, texts, figures, pictures and tables into entries of the spool.

Every call takes in what it was given and returns; delivery goes on in the background (`_artifacts_queue`). What can't be right
raises at once: a missing file, a bad path, a figure of an unknown kind. Trouble with the service never does.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest_client._artifacts_paths import checked_path, join
from ingest_client._artifacts_spool import Keep

if TYPE_CHECKING:
    from ingest_client._artifacts_queue import ArtifactQueue

__all__ = ["ArtifactMethods", "Keep", "figure_bytes", "files_below", "image_path"]

IMAGES: Final = "images"
"""The directory of image series: `images/<key>/<step>-<time_ms>-<8 hex digits>.png`."""

_YAML: Final = (".yaml", ".yml")
_HTML: Final = (".html", ".htm")


class ArtifactMethods:
    """The methods of a run that log artifacts. Paths of artifacts are relative to the run, with `/` between their parts."""

    checkpoints: dict[str, list[Any]]
    """What `log_checkpoint` has logged here, by directory; see `_checkpoints`."""
    checkpoint_lock: threading.RLock
    logged_models: list[dict[str, Any]]
    """What `pytorch.log_model` has logged here."""

    def _artifact_queue(self) -> ArtifactQueue:
        """The queue of this run in this process."""
        raise NotImplementedError

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set several tags."""
        raise NotImplementedError

    def artifact_workspace(self) -> str | None:
        """A folder on the spool's file system, so that large files move into the spool without a copy; it goes with the spool."""
        directory = self._artifact_queue().open()
        return None if directory is None else str(directory)

    def remove_artifact(self, artifact_path: str) -> None:
        """Delete an artifact, in the background, after all that was logged before. One that is not there is no error.

        Raises:
            BadPath: It can't be an artifact by this name.
        """
        self._artifact_queue().put_bytes(checked_path(artifact_path), b"", "remove")

    def log_artifact(
        self, local_path: str | os.PathLike[str], artifact_path: str | None = None, *, keep: Keep = "copy"
    ) -> None:
        """Log a file, or a directory with all that is below it, under its own name.

        Args:
            local_path: The file or directory.
            artifact_path: The artifact directory that it goes into; the run's root if not given.
            keep: `copy`: the caller may change or delete the file as soon as the call has returned; the copy shares its
                blocks where the file system can. `link`: no copy, by a hard link; only for a file that nobody writes to in
                place any more, since such a change would be uploaded. `move`: the file is taken away.

        Raises:
            OSError: The file is missing or can't be read.
            BadPath: It can't be an artifact by this name.
        """
        local = Path(local_path)
        name = local.name or local.resolve().name
        if local.is_dir():
            self.log_artifacts(local, join(artifact_path, name), keep=keep)
        else:
            self._artifact_queue().put_file(join(artifact_path, name), local, keep)

    def log_artifacts(
        self, local_dir: str | os.PathLike[str], artifact_path: str | None = None, *, keep: Keep = "copy"
    ) -> None:
        """Log everything below a directory, without the directory's own name.

        Args:
            local_dir: The directory; links to files in it are followed, links to directories are not.
            artifact_path: The artifact directory that it goes into; the run's root if not given.
            keep: As in `log_artifact`.

        Raises:
            OSError: The directory is missing, or something in it can't be read.
            BadPath: Something in it can't be an artifact by its name; nothing was logged.
        """
        named = [(join(artifact_path, relative), file) for relative, file in files_below(Path(local_dir))]
        queue = self._artifact_queue()
        for path, file in named:
            queue.put_file(path, file, keep)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Log a text as the artifact `artifact_file`, in UTF-8."""
        self._artifact_queue().put_bytes(checked_path(artifact_file), text.encode())

    def log_dict(self, dictionary: Mapping[str, Any] | list[Any], artifact_file: str) -> None:
        """Log a dict or list: as YAML where `artifact_file` ends in .yaml or .yml, as JSON otherwise.

        Raises:
            TypeError: Something in it can't be written so.
        """
        path = checked_path(artifact_file)
        self._artifact_queue().put_bytes(path, _dict_bytes(dictionary, path))

    def log_figure(
        self, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Log a figure of matplotlib or plotly, drawn now, in the format that the name's ending says.

        Args:
            figure: The figure. Plotly's is kept interactive as .html or .json; other endings need plotly's own exporter.
            artifact_file: Such as `plots/loss.png`.
            save_kwargs: For `savefig`, `write_html` or `write_image`.

        Raises:
            TypeError: It is no such figure.
        """
        path = checked_path(artifact_file)
        self._artifact_queue().put_bytes(path, figure_bytes(figure, path, dict(save_kwargs or {})))

    def log_image(  # noqa: PLR0917 - the order of MLflow's arguments is kept
        self,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = None,
    ) -> None:
        """Log a picture: a single one by its name, or one of a series by key and step.

        Args:
            image: A PIL image, a numpy array (H, W[, C]) or a tensor ([C, ]H, W): floats 0 to 1, whole numbers 0 to 255.
            artifact_file: The name of a single picture. Endings other than .png need Pillow.
            key: The name of a series, which may hold `/`: the picture is `images/<key>/<step>-<time_ms>-<8 hex>.png`.
            step: Its place in the series; 0 if not given.
            timestamp: Milliseconds since the Unix epoch; now if not given.
            synchronous: True waits until it is uploaded, up to 30 seconds.

        Raises:
            TypeError, ValueError: It is no picture, or not exactly one of `artifact_file` and `key` is given.
        """
        from ingest_client._images import as_png

        if (artifact_file is None) == (key is None):
            raise ValueError("give either artifact_file, for a single picture, or key, for one of a series")
        if artifact_file is not None:
            path = checked_path(artifact_file)
            content = _picture_bytes(image, path)
        else:
            path = image_path(str(key), step or 0, timestamp)
            content = as_png(image)
        queue = self._artifact_queue()
        queue.put_bytes(path, content)
        if synchronous:
            queue.wait_for(queue.mark(), 30.0)

    def log_table(self, data: Any, artifact_file: str) -> None:
        """Add rows to a table, an artifact in the JSON of pandas' `orient="split"`; it is made if there is none.

        Args:
            data: A dict of columns, or of single values for one row, or a DataFrame.
            artifact_file: Its name, which ends in .json.

        Raises:
            TypeError, ValueError: It is no table, or the name does not end in .json.
        """
        from ingest_client._artifacts_tables import as_table, table_bytes

        path = checked_path(artifact_file)
        if not path.endswith(".json"):
            raise ValueError(f"tables are kept as JSON: the name of one ends in .json, not as {path!r} does")
        self._artifact_queue().put_bytes(path, table_bytes(as_table(data)), "table")


def files_below(directory: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a directory with its path in it, in a stable order.

    Raises:
        OSError: It is no directory.
    """
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is no directory")
    for above, directories, files in os.walk(directory, onerror=_raise):
        directories.sort()
        for name in sorted(files):
            file = Path(above) / name
            yield file.relative_to(directory).as_posix(), file


def _raise(error: OSError) -> None:
    raise error


def image_path(key: str, step: int, timestamp: int | None) -> str:
    """Where a picture of a series lies. The end makes pictures of one step and moment, by several ranks, different.

    Raises:
        BadPath: The key can't be part of a path.
    """
    time_ms = time.time_ns() // 1_000_000 if timestamp is None else int(timestamp)
    return join(f"{IMAGES}/{key}", f"{int(step)}-{time_ms}-{secrets.token_hex(4)}.png")


def _dict_bytes(dictionary: Any, path: str) -> bytes:
    if path.lower().endswith(_YAML):
        from ingest_client._yaml import to_yaml

        return to_yaml(dictionary).encode()
    import json

    return (json.dumps(dictionary, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def _picture_bytes(image: Any, path: str) -> bytes:
    """A picture in the format that the name says; Pillow knows the others."""
    from ingest_client._images import as_pixels, as_png

    suffix = Path(path).suffix.lower()
    if suffix in {".png", ""}:
        return as_png(image)
    try:
        import PIL.Image
    except ImportError as error:
        raise ValueError(
            f"a picture as {suffix} needs Pillow, which is not installed; log it as .png"
        ) from error
    import io

    if not hasattr(image, "save"):
        pixels = as_pixels(image)
        image = PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    wanted = PIL.Image.registered_extensions().get(suffix)
    if wanted is None:
        raise ValueError(f"{path!r} has the ending of no kind of picture that Pillow knows")
    image.save(buffer, format=wanted)
    return buffer.getvalue()


def figure_bytes(figure: Any, path: str, options: dict[str, Any]) -> bytes:
    """A figure in the format that the name says.

    Raises:
        TypeError: It is no figure of matplotlib or plotly.
    """
    import io

    suffix = Path(path).suffix.lower()
    if hasattr(figure, "savefig"):
        buffer = io.BytesIO()
        figure.savefig(buffer, **{"format": suffix.lstrip(".") or "png", **options})
        return buffer.getvalue()
    if not hasattr(figure, "to_plotly_json"):
        raise TypeError(f"a figure is one of matplotlib or plotly, not {type(figure).__name__}")
    if suffix in _HTML:
        return str(figure.to_html(**options)).encode()
    if suffix == ".json":
        return str(figure.to_json(**options)).encode()
    with tempfile.TemporaryDirectory() as folder:  # plotly's exporter writes files
        target = Path(folder) / f"figure{suffix}"
        figure.write_image(target, **options)
        return target.read_bytes()
