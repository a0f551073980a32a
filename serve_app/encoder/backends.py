"""What computes a tower: torch anywhere, on a GPU by CUDA graphs, or OpenVINO on a CPU."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec

import torch

from models.errors import ConfigurationError
from serve_app.encoder.loading import Tower

_INSTALL = ".venv/bin/pip install -c constraints.txt -e '.[cpu]'"


def choose_backend(backend: str, device: torch.device, dtype: str, towers: Collection[Tower]) -> str:
    """``auto``: on a GPU CUDA graphs; on a CPU OpenVINO for int8, and for the text tower alone where it is
    installed; else torch.

    OpenVINO computes a batch without Python's interpreter, which a replica's event loop needs meanwhile.
    Photos stay with torch: bulk ones give way by their thread's priority, which OpenVINO's have not.
    Raises ConfigurationError where a backend is missing, or cannot compute this.
    """
    chosen = _best(device, dtype, towers) if backend == "auto" else backend
    if chosen == "openvino":
        _require_openvino(device, dtype)
    elif dtype == "int8":
        raise ConfigurationError("torch does not compute int8 here. Set backend: openvino, or another dtype.")
    elif chosen == "cuda_graphs" and device.type != "cuda":
        raise ConfigurationError(
            f"CUDA graphs serve NVIDIA's GPUs, not the device {device}. Set device: cuda, or backend: auto."
        )
    return chosen


def _best(device: torch.device, dtype: str, towers: Collection[Tower]) -> str:
    if dtype == "int8":
        return "openvino"
    if device.type == "cuda":
        return "cuda_graphs"
    suits = set(towers) == {"text"} and device.type == "cpu" and dtype != "float16"
    return "openvino" if suits and find_spec("openvino") is not None else "torch"


def _require_openvino(device: torch.device, dtype: str) -> None:
    if device.type != "cpu":
        raise ConfigurationError(
            f"OpenVINO serves CPUs, not the device {device}. Set device: cpu, or backend: torch and no int8."
        )
    if dtype == "float16":
        raise ConfigurationError("OpenVINO does not compute float16 here. Set dtype: auto, bfloat16 or int8.")
    if find_spec("openvino") is None:
        raise ConfigurationError(
            f"OpenVINO is not installed. Install it: {_INSTALL} (or set backend: torch)."
        )
