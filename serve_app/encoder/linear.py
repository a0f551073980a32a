"""Products with fixed weights, and what directly follows them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from serve_app.encoder.weights import Activation, Affine


class Linear(Protocol):
    """``x @ weight.T + bias`` for x of shape (rows, in)."""

    def __init__(self, weights: Affine, device: torch.device, dtype: torch.dtype) -> None: ...

    def __call__(self, x: Tensor) -> Tensor: ...

    def added_to(self, rest: Tensor, x: Tensor) -> Tensor: ...

    def activated(self, x: Tensor, activation: Activation) -> Tensor: ...


class PlainLinear:
    """With torch's public functions, on any device."""

    def __init__(self, weights: Affine, device: torch.device, dtype: torch.dtype) -> None:
        self._weight = weights.weight.to(device, dtype)
        self._bias = weights.bias.to(device, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self._weight, self._bias)

    def added_to(self, rest: Tensor, x: Tensor) -> Tensor:
        return rest + self(x)

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        return functional.silu(self(x)) if activation == "silu" else functional.gelu(self(x))


class PrepackedLinear:
    """On a CPU, with the weights in the order in which oneDNN's kernels read them.

    ``functional.linear`` brings them into that order at every call: half the time of a single prompt. The
    operators are those that torch's compiler emits, no public interface: ``linear_kind`` tries them first.
    """

    def __init__(self, weights: Affine, device: torch.device, dtype: torch.dtype) -> None:
        weight = weights.weight.to(device, dtype).contiguous()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self._bias = weights.bias.to(device, dtype)
        self._product = torch.ops.mkldnn._linear_pointwise

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self._product(x, self._weight, self._bias, "none", [], "")
        return found

    def added_to(self, rest: Tensor, x: Tensor) -> Tensor:
        found: Tensor = self._product.binary(x, rest, self._weight, self._bias, "add")
        return found

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        name = "swish" if activation == "silu" else activation
        found: Tensor = self._product(x, self._weight, self._bias, name, [], "none")
        return found


def linear_kind(device: torch.device, dtype: torch.dtype) -> type[Linear]:
    """What computes fastest there and is right: prepacked weights where this torch has them, on a CPU."""
    return PrepackedLinear if device.type == "cpu" and _prepacking_is_right(dtype) else PlainLinear


@torch.inference_mode()
def _prepacking_is_right(dtype: torch.dtype) -> bool:
    draw = torch.Generator().manual_seed(0)
    width = 32
    weights = Affine(torch.randn(width, width, generator=draw), torch.randn(width, generator=draw))
    x, rest = torch.randn(2, 3, width, generator=draw).to(dtype)
    cpu = torch.device("cpu")
    try:
        found, wanted = (
            [
                one(x),
                one.added_to(rest, x),
                one.activated(x, "silu"),
                one.activated(x, "gelu"),
            ]
            for one in (PrepackedLinear(weights, cpu, dtype), PlainLinear(weights, cpu, dtype))
        )
    except (AttributeError, RuntimeError):
        return False
    return all(torch.allclose(a, b, rtol=0.02, atol=0.05) for a, b in zip(found, wanted, strict=True))
