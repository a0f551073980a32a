"""What computes a tower: torch anywhere, or OpenVINO on a CPU."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec

import torch

from models.errors import ConfigurationError
from serve_app.encoder.loading import Tower

_INSTALL = ".venv/bin/pip install -c constraints.txt -e '.[cpu]'"


def choose_backend(backend: str, device: torch.device, dtype: str, towers: Collection[Tower]) -> str:
    """``auto``: OpenVINO for int8, and for the text tower alone on a CPU, where it is installed; else torch.

    OpenVINO computes a batch without Python's interpreter, which a replica's event loop needs meanwhile.
    Photos stay with torch: bulk ones give way by their thread's priority, which OpenVINO's have not.
    Raises ConfigurationError where a backend is missing, or cannot compute this.
    """
    if backend == "torch" and dtype == "int8":
        raise ConfigurationError("torch does not compute int8 here. Set backend: openvino, or another dtype.")
    if backend == "torch":
        return "torch"
    if backend == "auto" and dtype != "int8" and not _suits(device, dtype, towers):
        return "torch"
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
    return "openvino"


def _suits(device: torch.device, dtype: str, towers: Collection[Tower]) -> bool:
    alone = set(towers) == {"text"} and device.type == "cpu" and dtype != "float16"
    return alone and find_spec("openvino") is not None
