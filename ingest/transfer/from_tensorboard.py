"""TensorBoard's log directories: each directory with event files is a run, each file a writer of it.

    scalars        metrics, of any of TensorFlow's and PyTorch's ways to write them; values are float32 there, and exact here
    histograms     metrics, the quantile series that `SummaryWriter.add_histogram` logs: `<tag>/p50` …; TensorFlow 2 keeps no sums, so
                   of its histograms there are no `<tag>/mean` and `<tag>/std`
    hparams        params
    text           artifacts, texts/<tag>/<step>.md, and tags; of several texts of one name the last
    images         artifacts, images/<tag>/<step>.png; of a batch of images <step>-<number>.png
    audio          artifacts, audio/<tag>/<step>.wav, of PyTorch and TensorFlow 1
    anything else  graphs, curves, meshes: counted as left out

Wall times become whole milliseconds. A file that is still written to can be imported again: what is new is added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ingest.transfer.feed import Feed, RunFacts
from ingest.transfer.feeding import Feeder, id_from
from ingest.transfer.source_errors import BadSource
from ingest.transfer.tfevents import Damaged, events_of
from ingest_schema.histograms import moments, quantiles_of_buckets

__all__ = ["take_in"]

CLIENT: Final = "tensorboard import"
_FILES: Final = "*tfevents*"
_FLOAT: Final = 1
_DOUBLE: Final = 2
_ENDINGS: Final = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "wav"}
"""First bytes, and the ending of a file's name."""
_TEXT_SUFFIX: Final = "/text_summary"


async def take_in(feeder: Feeder, logdir: Path, experiment: str) -> None:
    """Import a log directory with all that is below it into an experiment.

    Raises:
        BadSource: There are no event files.
    """
    found = False
    for name, files in _runs(logdir):
        if not found:
            await feeder.make_experiment(experiment, {})
            found = True
        for path in files:
            await _take_in_file(feeder, path, experiment, name, files[0].name)
    if not found:
        raise BadSource(f"there are no event files ({_FILES}) in {logdir}")


def _runs(logdir: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each run's name and files, the oldest first, as their names sort."""
    folders: dict[Path, list[Path]] = {}
    for path in sorted(logdir.rglob(_FILES)):
        if path.is_file():
            folders.setdefault(path.parent, []).append(path)
    for folder, files in folders.items():
        name = folder.relative_to(logdir).as_posix()
        yield logdir.resolve().name if name == "." else name, files


async def _take_in_file(feeder: Feeder, path: Path, experiment: str, name: str, first_file: str) -> None:
    # The first file's name holds time, host and process: two directories of one name are two runs.
    run_id = id_from("tensorboard", experiment, name, first_file)
    events = events_of(path)
    try:
        first = next(events, None)
    except Damaged as error:
        feeder.taken.skip("damaged files")
        feeder.taken.note(f"{error}; nothing of it was imported")
        return
    if first is None:
        return
    facts = RunFacts(
        run_id=run_id,
        writer_id=id_from("tensorboard", run_id.hex, path.name),
        first_writer_id=id_from("tensorboard", run_id.hex, first_file),
        experiment=experiment,
        name=name,
        start_time_ms=_ms(first.wall_time),
        client=CLIENT,
    )
    feed = await feeder.begin(facts)
    if feed is None:
        return
    last_ms = await _Reading(feeder, feed).read(first, events)
    await feed.end(end_time_ms=max(last_ms, facts.start_time_ms))


class _Reading:
    """One file that is being read."""

    def __init__(self, feeder: Feeder, feed: Feed) -> None:
        self._taken = feeder.taken
        self._feed = feed
        self._plugins: dict[str, str] = {}
        """Of each tag: a writer may name it with the first value only."""
        self._files: list[tuple[str, str, bytes]] = []
        """Kind, path and content, of one event."""

    async def read(self, first: Any, events: Iterator[Any]) -> int:
        """Give the run all that is in the file; the time of the last event, ms."""
        last_ms = self._take(first)
        await self._store_files()
        try:
            for event in events:
                if event.HasField("summary"):
                    last_ms = max(last_ms, self._take(event))
                    await self._store_files()
                    if self._feed.is_full:
                        await self._feed.flush()
                elif event.HasField("graph_def") or event.HasField("meta_graph_def"):
                    self._taken.skip("graph")
        except Damaged as error:
            self._taken.skip("damaged files")
            self._taken.note(f"{error}; what stands before it was imported")
        return last_ms

    def _take(self, event: Any) -> int:
        time_ms = _ms(event.wall_time)
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            if kind == "simple_value":
                self._feed.add(value.tag, event.step, time_ms, value.simple_value)
            else:
                self._take_other(value, kind, event.step, time_ms)
        return time_ms

    def _take_other(self, value: Any, kind: str | None, step: int, time_ms: int) -> None:
        plugin = value.metadata.plugin_data.plugin_name
        if plugin:
            self._plugins[value.tag] = plugin
        plugin = self._plugins.get(value.tag, "")
        if plugin == "hparams":
            self._feed.add_texts("param", _hparams(value.metadata.plugin_data.content))
        elif kind == "tensor" and plugin == "scalars":
            self._feed.add(value.tag, step, time_ms, _number(value.tensor))
        elif kind == "histo":
            self._add_quantiles(value.tag, step, time_ms, _of_histogram(value.histo))
        elif kind == "tensor" and plugin == "histograms":
            self._add_quantiles(value.tag, step, time_ms, _of_buckets(value.tensor))
        elif kind == "tensor" and plugin == "text":
            tag, texts = value.tag.removesuffix(_TEXT_SUFFIX), b"\n".join(value.tensor.string_val)
            self._feed.add_texts("tag", {tag: texts.decode("utf-8", "replace")})
            self._files.append(("texts as files", f"texts/{tag}/{step}.md", texts))
        elif kind == "image":
            self._keep("images", value.tag, f"{step}", value.image.encoded_image_string)
        elif kind == "tensor" and plugin == "images":
            pictures = value.tensor.string_val[2:]  # behind width and height
            for i, content in enumerate(pictures):
                self._keep("images", value.tag, f"{step}-{i}" if len(pictures) > 1 else f"{step}", content)
        elif kind == "audio":
            self._keep("audio", value.tag, f"{step}", value.audio.encoded_audio_string)
        else:
            self._taken.skip(plugin or str(kind))

    def _add_quantiles(self, tag: str, step: int, time_ms: int, found: Mapping[str, float]) -> None:
        for name, value in found.items():
            self._feed.add(f"{tag}/{name}", step, time_ms, value)

    def _keep(self, kind: str, tag: str, name: str, content: bytes) -> None:
        """A file of a kind that is known by its first bytes."""
        ending = next((ending for magic, ending in _ENDINGS.items() if content.startswith(magic)), None)
        if ending is None:
            self._taken.skip(f"{kind} of an unknown kind")
        else:
            self._files.append((kind, f"{kind}/{tag}/{name}.{ending}", content))

    async def _store_files(self) -> None:
        for kind, path, content in self._files:
            if not await self._feed.put_content(path, content):
                self._taken.skip(kind)
        self._files.clear()


def _ms(wall_time: float) -> int:
    return round(wall_time * 1000)


def _number(tensor: Any) -> float:
    """The value of a tensor of one element."""
    if tensor.dtype == _FLOAT and len(tensor.float_val) == 1:
        return float(tensor.float_val[0])
    if tensor.dtype == _DOUBLE and len(tensor.double_val) == 1:
        return float(tensor.double_val[0])
    from tensorboard.util.tensor_util import make_ndarray

    return float(make_ndarray(tensor).item())


def _of_histogram(histo: Any) -> dict[str, float]:
    """The series of a histogram with sums, as PyTorch and TensorFlow 1 write it."""
    found = quantiles_of_buckets(histo.min, histo.max, histo.bucket_limit, histo.bucket)
    return found and found | moments(histo.num, histo.sum, histo.sum_squares)


def _of_buckets(tensor: Any) -> dict[str, float]:
    """The series of a histogram that is a row of left end, right end and count for each bucket, as TensorFlow 2 writes it."""
    from tensorboard.util.tensor_util import make_ndarray

    left, right, counts = make_ndarray(tensor).reshape(-1, 3).T.tolist()
    return quantiles_of_buckets(left[0], right[-1], right, counts) if left else {}


def _hparams(content: bytes) -> dict[str, str]:
    """The params in what the hparams plugin keeps; none where it keeps something else."""
    from google.protobuf.message import DecodeError
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        found = HParamsPluginData.FromString(content)
    except DecodeError:
        return {}
    values = found.session_start_info.hparams
    return {key: _text(value) for key, value in values.items()}


def _text(value: Any) -> str:
    """A google.protobuf.Value as text, as a param: 0.1, 3, True, sgd."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return str(value.string_value)
    if kind == "number_value":
        number = value.number_value
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    if kind == "bool_value":
        return str(value.bool_value)
    from google.protobuf.json_format import MessageToDict

    return json.dumps(MessageToDict(value))
