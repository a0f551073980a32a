"""What computes a tower: torch anywhere, or OpenVINO on a CPU."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from models.errors import ConfigurationError

_INSTALL = ".venv/bin/pip install -c constraints.txt -e '.[cpu]'"


def choose_backend(backend: str, device: torch.device, dtype: str) -> str:
    """``auto``: torch, as fast in the same dtype; OpenVINO for int8, which torch does not do here.

    Raises ConfigurationError where a backend is missing, or cannot compute this.
    """
    if backend == "torch" and dtype == "int8":
        raise ConfigurationError("torch does not compute int8 here. Set backend: openvino, or another dtype.")
    if backend == "torch" or (backend == "auto" and dtype != "int8"):
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
