"""How a distribution becomes series: the quantiles, mean and deviation under which histograms are logged. Pure.

`SummaryWriter` logs them, and the import of TensorBoard's files makes the same of the histograms that it finds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

__all__ = ["QUANTILES", "moments", "quantiles_of_buckets"]

QUANTILES: Final = {"min": 0.0, "p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
"""Names of the series below a histogram's tag, and the share of the values that is below each."""


def quantiles_of_buckets(
    least: float, greatest: float, limits: Sequence[float], counts: Sequence[float]
) -> dict[str, float]:
    """The quantiles of values that are known by their buckets only, which are taken to be evenly filled.

    Args:
        least, greatest: Of all values.
        limits: The upper end of each bucket, ascending; the first one begins at `least`.
        counts: How many values are in each, as many as limits.

    Returns:
        By the names of QUANTILES; nothing if all buckets are empty.
    """
    total = math.fsum(counts)
    if not total:
        return {}
    ends = [least, *(min(max(limit, least), greatest) for limit in limits)]
    below = [0.0, *(count / total for count in accumulate(counts))]
    found = {name: _between(share, below, ends) for name, share in QUANTILES.items()}
    return found | {"min": float(least), "max": float(greatest)}


def moments(number: float, total: float, sum_squares: float) -> dict[str, float]:
    """The mean and the standard deviation of so many values of this sum and this sum of squares; nothing of none."""
    if not number:
        return {}
    mean = total / number
    return {"mean": mean, "std": math.sqrt(max(0.0, sum_squares / number - mean**2))}


def _between(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Along the straight lines between points of ascending xs, of which several may be the same."""
    i = min(bisect_right(xs, x), len(xs) - 1) - 1
    rise = xs[i + 1] - xs[i]
    return ys[i + 1] if not rise else ys[i] + (ys[i + 1] - ys[i]) / rise * min(x - xs[i], rise)
