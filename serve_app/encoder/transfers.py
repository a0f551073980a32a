"""Arrays to a device. A GPU takes them from pinned memory: the thread that sends them need not wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_TORCH_TYPES = {"int64": torch.int64, "uint8": torch.uint8}


def sent(values: NDArray[Any], device: torch.device) -> Tensor:
    """A copy on the device; of int64 or uint8."""
    if device.type != "cuda":
        return torch.tensor(values, device=device)
    here = pinned(values.shape, _TORCH_TYPES[values.dtype.name])
    np.copyto(here.numpy(), values)
    return here.to(device, non_blocking=True)


def pinned(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Not filled, in memory that a GPU reads and writes by itself. torch keeps it for the next that asks."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)
