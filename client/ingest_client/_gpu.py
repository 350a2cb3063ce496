"""NVIDIA's GPUs by NVML, through the module `pynvml` (package nvidia-ml-py). Where it is missing, or the driver, there are none.

All GPUs of the machine, in NVML's order, whatever CUDA_VISIBLE_DEVICES says: a neighbour's load slows this run, too.
"""

from __future__ import annotations

import contextlib
import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["Gpus"]

MAX_GPUS: Final = 64

_QUESTIONS: Final[Mapping[str, Callable[[Any, Any], float]]] = {
    "utilization_percent": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
    "memory_bytes": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
    "memory_percent": lambda nvml, gpu: _percent(nvml.nvmlDeviceGetMemoryInfo(gpu)),
    "power_watts": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "temperature_celsius": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
}


class Gpus:
    """The machine's GPUs. Every call may wait for the driver, so none is made on a training thread."""

    def __init__(self, nvml: Any) -> None:
        """Start NVML.

        Raises:
            Exception: NVML's own errors: no driver, no permission.
        """
        nvml.nvmlInit()
        self._nvml = nvml
        count = min(nvml.nvmlDeviceGetCount(), MAX_GPUS)
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]

    @classmethod
    def find(cls) -> Gpus | None:
        """The GPUs of this machine; None if there are none, or none can be asked."""
        try:
            gpus = cls(importlib.import_module("pynvml"))
        except Exception:  # noqa: BLE001 - no module, no library, no driver, no permission: all mean that none can be asked
            return None
        return gpus if gpus._handles else None

    def metrics(self) -> dict[str, float]:
        """Metrics of now, by key. What a GPU does not tell (consumer cards: some, vGPUs: most) is not there."""
        found: dict[str, float] = {}
        for i, gpu in enumerate(self._handles):
            for name, ask in _QUESTIONS.items():
                with contextlib.suppress(Exception):
                    found[f"system/gpu{i}/{name}"] = float(ask(self._nvml, gpu))
        return found

    def describe(self) -> str:
        """Such as `2 × NVIDIA A100`."""
        names: Counter[str] = Counter()
        for gpu in self._handles:
            with contextlib.suppress(Exception):
                name = self._nvml.nvmlDeviceGetName(gpu)
                names[name.decode(errors="replace") if isinstance(name, bytes) else str(name)] += 1
        return ", ".join(name if count == 1 else f"{count} × {name}" for name, count in names.items())


def _percent(memory: Any) -> float:
    return float(100.0 * memory.used / memory.total)
