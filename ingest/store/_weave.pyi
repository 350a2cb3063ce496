from typing import Any, TypeAlias

import numpy.typing as npt

Column: TypeAlias = npt.NDArray[Any] | bytes

def weave(
    heads: Column,
    keys: list[bytes],
    scalars: list[bytes],
    counts: Column,
    starts: Column,
    steps: Column,
    times_ms: Column,
    values: Column,
    begin: int,
    end: int,
    /,
) -> bytes: ...
