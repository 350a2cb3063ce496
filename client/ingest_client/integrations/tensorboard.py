"""`SummaryWriter`: a drop-in for `torch.utils.tensorboard.SummaryWriter` that logs to a run.

    add_scalar(s)    metrics under `global_step` and `walltime`
    add_histogram    quantile series: `<tag>/min`, `/p05`, `/p25`, `/p50`, `/p75`, `/p95`, `/max`, `/mean`, `/std`, and
                     `/nonfinite` where there are such values, of which the others then know nothing
    add_image(s), add_figure    pictures of a series: `images/<tag>/<step>-….png`
    add_text         `texts/<tag>/<step>.md`          add_audio    `audio/<tag>/<step>.wav`
    add_hparams      params, and metrics

What has no counterpart (graphs, embeddings, videos, meshes, PR curves, layouts) is left out with one warning for each kind, so that
a script written for TensorBoard goes on.
"""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ingest_client import _fluent
from ingest_client._artifacts import figure_bytes, image_path
from ingest_client._warn import Warner
from ingest_schema.histograms import QUANTILES, moments, quantiles_of_buckets

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["SummaryWriter"]

_LEFT_OUT: Final = frozenset(
    {"add_graph", "add_embedding", "add_video", "add_mesh", "add_pr_curve", "add_pr_curve_raw", "add_onnx_graph",
     "add_custom_scalars", "add_custom_scalars_multilinechart", "add_custom_scalars_marginchart", "add_tensor",
     "add_image_with_boxes"}
)  # fmt: skip
_warn = Warner()


class SummaryWriter:
    """Logs to the active run; if there is none, to one of its own, which ends with `close()`.

    Args:
        log_dir: The name of the run that is started where there is none.
        comment: Goes behind it.
        purge_step: The run goes on from a checkpoint of the step before: what was logged from it on is an earlier attempt.
            Only where this writer starts the run.
        run: Another run to log to. It is the caller's to end.
        others: What only TensorBoard's files need; ignored.
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        *others: Any,
        run: Run | None = None,
        **ignored: Any,
    ) -> None:
        del others, ignored
        self.log_dir = "" if log_dir is None else str(log_dir)
        self.purge_step = purge_step
        self._owned: Run | None = None
        self._run = run or _fluent.active_run()
        if self._run is None:
            resume = None if purge_step is None else purge_step - 1
            self._run = self._owned = _fluent.start_run(
                run_name=f"{self.log_dir}{comment}" or None, resume_from_step=resume
            )

    @property
    def run(self) -> Run:
        """The run that is logged to."""
        assert self._run is not None  # noqa: S101 - set in the constructor
        return self._run

    def get_logdir(self) -> str:
        """What was given as log_dir."""
        return self.log_dir

    # --- numbers ----------------------------------------------------------------------------------------------------

    def add_scalar(  # noqa: PLR0917 - the order of TensorBoard's arguments is kept
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Log one value. walltime: seconds since the Unix epoch; now if not given."""
        del new_style, double_precision
        self.run.log_metric(tag, scalar_value, _step(global_step), _time_ms(walltime))

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Log several values as `<main_tag>/<name>`."""
        values = {f"{main_tag}/{name}": value for name, value in tag_scalar_dict.items()}
        self.run.log_metrics(values, _step(global_step), _time_ms(walltime))

    def add_histogram(  # noqa: PLR0917 - the order of TensorBoard's arguments is kept
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: Any = None,
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Log how values are distributed, as quantiles. Nothing is logged of no values."""
        del bins, max_bins
        import numpy as np

        numbers = np.asarray(_on_cpu(values), dtype=np.float64).ravel()
        finite = numbers[np.isfinite(numbers)]
        found: dict[str, float] = {}
        if len(finite):
            quantiles = np.quantile(finite, list(QUANTILES.values()))
            found = dict(zip(QUANTILES, quantiles.tolist(), strict=True))
            found |= {"mean": float(finite.mean()), "std": float(finite.std())}
        if len(finite) < len(numbers):
            found["nonfinite"] = float(len(numbers) - len(finite))
        self._log_under(tag, found, global_step, walltime)

    def add_histogram_raw(  # noqa: PLR0917 - the order of TensorBoard's arguments is kept
        self,
        tag: str,
        min: float,  # noqa: A002 - TensorBoard's name
        max: float,  # noqa: A002 - same
        num: float,
        sum: float,  # noqa: A002 - same
        sum_squares: float,
        bucket_limits: Sequence[float],
        bucket_counts: Sequence[float],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Log a histogram that was made elsewhere, as quantiles, straight lines inside its buckets."""
        if not num:
            return
        limits, counts = ([float(one) for one in several] for several in (bucket_limits, bucket_counts))
        found = quantiles_of_buckets(float(min), float(max), limits, counts)
        self._log_under(
            tag, found | moments(float(num), float(sum), float(sum_squares)), global_step, walltime
        )

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Any = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Log settings as params and results as metrics, both to this run."""
        del hparam_domain_discrete, run_name
        self.run.log_params(hparam_dict)
        if metric_dict:
            self.run.log_metrics(metric_dict, _step(global_step))

    def _log_under(
        self, tag: str, found: Mapping[str, float], global_step: int | None, walltime: float | None
    ) -> None:
        if found:
            values = {f"{tag}/{name}": value for name, value in found.items()}
            self.run.log_metrics(values, _step(global_step), _time_ms(walltime))

    # --- pictures, texts, sounds --------------------------------------------------------------------------------------

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Log a picture. dataformats: the order of height, width and channels."""
        picture = _arranged(img_tensor, dataformats, "HWC")
        self.run.log_image(picture, key=tag, step=_step(global_step), timestamp=_time_ms(walltime))

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Log several pictures of one size as one, side by side in a square."""
        picture = _side_by_side(_arranged(img_tensor, dataformats, "NHWC"))
        self.run.log_image(picture, key=tag, step=_step(global_step), timestamp=_time_ms(walltime))

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Log a figure of matplotlib, or a list of them, as pictures; closes them unless `close` is False."""
        for one in figure if isinstance(figure, list | tuple) else [figure]:
            path = image_path(tag, _step(global_step), _time_ms(walltime))
            self.run._artifact_queue().put_bytes(path, figure_bytes(one, path, {}))  # noqa: SLF001 - of one package
            if close:
                import matplotlib.pyplot as plt

                plt.close(one)

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Log a text, which is Markdown."""
        del walltime
        self.run.log_text(text_string, f"texts/{tag}/{_step(global_step)}.md")

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: int | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Log a sound of values from -1 to 1, as 16-bit WAV."""
        del walltime
        import numpy as np

        samples = np.clip(np.asarray(_on_cpu(snd_tensor), dtype=np.float64).ravel(), -1.0, 1.0)
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sample_rate)
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        self.run._artifact_queue().put_bytes(  # noqa: SLF001 - of one package
            f"audio/{tag}/{_step(global_step)}.wav", buffer.getvalue()
        )

    def __getattr__(self, name: str) -> Callable[..., None]:
        """What TensorBoard has and we have not: does nothing, and says so once a minute."""
        if name not in _LEFT_OUT:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def leave_out(*args: Any, **kwargs: Any) -> None:
            del args, kwargs
            _warn(name, f"SummaryWriter.{name} has no counterpart here; it is left out")

        return leave_out

    # --- ending -------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hurry the delivery. What was logged is in the spool already, so nothing is waited for."""
        self.run.ask_flush()

    def close(self) -> None:
        """End the run if this writer started it."""
        run, self._owned = self._owned, None
        if run is not None:
            run.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run, self._owned = self._owned, None
        if run is not None:
            run.end("FINISHED" if kind is None else "FAILED")


def _step(global_step: Any) -> int:
    return 0 if global_step is None else int(global_step)


def _time_ms(walltime: float | None) -> int | None:
    return None if walltime is None else int(walltime * 1000)


def _on_cpu(values: Any) -> Any:
    """Something that numpy reads: tensors are detached and fetched."""
    if hasattr(values, "detach"):
        values = values.detach()
        return values.float().cpu().numpy() if values.is_floating_point() else values.cpu().numpy()
    return values


def _arranged(tensor: Any, order: str, wanted: str) -> Any:
    """The picture or pictures with their axes in the order `wanted`; a missing channel axis is added.

    Raises:
        ValueError: The axes are not what `order` says.
    """
    import numpy as np

    array, order = np.asarray(_on_cpu(tensor)), order.upper()
    if array.ndim != len(order) or not set(order) <= set(wanted) or len(set(order)) != len(order):
        raise ValueError(f"a picture of shape {array.shape} is not in the order {order!r}")
    for axis in set(wanted) - set(order):
        array, order = array[..., np.newaxis], order + axis
    return np.transpose(array, [order.index(axis) for axis in wanted])


def _side_by_side(pictures: Any) -> Any:
    """N pictures as one of about √N by √N, the rest black."""
    import numpy as np

    count, height, width, channels = pictures.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    filled = np.zeros((rows * columns, height, width, channels), dtype=pictures.dtype)
    filled[:count] = pictures
    grid = filled.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)
