from collections.abc import Callable, Mapping
from typing import Any

class HotPath:
    def __init__(
        self,
        shapes: dict[tuple[str, ...], list[Any]],
        singles: dict[str, int],
        log_metrics: Callable[..., None],
        log_metric: Callable[..., None],
        write: Callable[[bytes], object],
    ) -> None: ...
    def log_metrics(
        self, metrics: Mapping[str, Any], step: int | None = 0, timestamp: int | None = None
    ) -> None: ...
    def log_metric(
        self, key: str, value: Any, step: int | None = 0, timestamp: int | None = None
    ) -> None: ...
    def attach(self, write: Callable[[bytes], object], /) -> None: ...
