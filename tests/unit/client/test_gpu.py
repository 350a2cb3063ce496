"""GPUs by NVML. No GPU is at hand, so NVML is one of the tests' own, under the names and units of NVIDIA's."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from ingest_client._gpu import Gpus


class NotSupported(Exception):
    """NVML's way of saying that this card does not tell."""


def not_supported(*_: Any) -> Any:
    raise NotSupported


def fake_nvml(names: list[Any]) -> Any:
    return SimpleNamespace(
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(names),
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetName=lambda i: names[i],
        nvmlDeviceGetUtilizationRates=lambda i: SimpleNamespace(gpu=50 + i, memory=1),
        nvmlDeviceGetMemoryInfo=lambda i: SimpleNamespace(used=10, total=40, free=30),
        nvmlDeviceGetPowerUsage=lambda i: 250_500,
        nvmlDeviceGetTemperature=lambda i, sensor: 60 + sensor,
    )


def test_every_gpu_has_metrics_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(["A100", b"A100", "T4"]))
    gpus = Gpus.find()
    assert gpus is not None
    found = gpus.metrics()
    assert len(found) == 15
    assert {key: value for key, value in found.items() if "gpu1/" in key} == {
        "system/gpu1/utilization_percent": 51.0,
        "system/gpu1/memory_bytes": 10.0,
        "system/gpu1/memory_percent": 25.0,
        "system/gpu1/power_watts": 250.5,
        "system/gpu1/temperature_celsius": 60.0,
    }
    assert gpus.describe() == "2 × A100, T4"


def test_what_a_card_does_not_tell_is_left_out():
    nvml = fake_nvml(["T4"])
    nvml.nvmlDeviceGetPowerUsage = nvml.nvmlDeviceGetName = not_supported
    gpus = Gpus(nvml)
    assert set(gpus.metrics()) == {
        f"system/gpu0/{name}" for name in ("utilization_percent", "memory_bytes", "memory_percent", "temperature_celsius")
    }  # fmt: skip
    assert gpus.describe() == ""


@pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch, broken: str):
    nvml = fake_nvml(["T4"])
    setattr(nvml, broken, not_supported)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert Gpus.find() is None


def test_without_the_module_or_a_card_there_are_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpus.find() is None
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([]))
    assert Gpus.find() is None
