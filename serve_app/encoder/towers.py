"""Both towers of CLIP in torch, on any device: no more operations than the pooled vector needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from serve_app.encoder import weights
from serve_app.encoder.layout import Layout
from serve_app.encoder.linear import Linear, linear_kind
from serve_app.encoder.transfers import sent

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Shape:
    """A ``Layout`` for the layers: its arrays as tensors on the device."""

    count: int
    longest: int
    causal: bool
    pooled: Tensor
    padded_pooled: Tensor
    spread: Tensor | None = None
    kept: Tensor | None = None


class _Norm:
    def __init__(self, of: weights.Affine, epsilon: float, device: torch.device, dtype: torch.dtype) -> None:
        self._weight, self._bias = of.weight.to(device, dtype), of.bias.to(device, dtype)
        self._epsilon = epsilon

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], self._weight, self._bias, self._epsilon)


class _Layer:
    def __init__(
        self,
        of: weights.Layer,
        trunk: weights.Trunk,
        linear: Callable[[weights.Affine], Linear],
        norm: Callable[[weights.Affine], _Norm],
    ) -> None:
        self._heads, self._activation = trunk.heads, trunk.activation
        self._norm_1, self._norm_2 = norm(of.norm_1), norm(of.norm_2)
        self._qkv, self._out, self._up, self._down = map(linear, (of.qkv, of.out, of.up, of.down))

    def __call__(self, x: Tensor, shape: _Shape, *, pool: bool) -> Tensor:
        """``pool``: only the pooled rows go on from here."""
        attended = self._attend(self._qkv(self._norm_1(x)), shape)
        if pool:
            attended, x = attended.index_select(0, shape.padded_pooled), x.index_select(0, shape.pooled)
        elif shape.kept is not None:
            attended = attended.index_select(0, shape.kept)
        x = self._out.added_to(x, attended)
        return self._down.added_to(x, self._up.activated(self._norm_2(x), self._activation))

    def _attend(self, qkv: Tensor, shape: _Shape) -> Tensor:
        """(rows, 3 * width) → (count * longest, width). The scale is in the weights."""
        if shape.spread is not None:
            qkv = qkv.index_select(0, shape.spread)
        q, k, v = qkv.view(shape.count, shape.longest, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=shape.causal, scale=1.0)
        return attended.transpose(1, 2).reshape(shape.count * shape.longest, -1)


class _Trunk:
    def __init__(self, of: weights.Trunk, device: torch.device, dtype: torch.dtype) -> None:
        kind = linear_kind(device, dtype)

        def linear(part: weights.Affine) -> Linear:
            return kind(part, device, dtype)

        def norm(part: weights.Affine) -> _Norm:
            return _Norm(part, of.epsilon, device, dtype)

        self._layers = [_Layer(layer, of, linear, norm) for layer in of.layers]
        self._final_norm = norm(of.final_norm)
        self._projection = of.projection.to(device, dtype)

    def __call__(self, x: Tensor, shape: _Shape) -> Tensor:
        """(rows, width) → unit vectors (count, dimension) in float32."""
        for layer in self._layers:
            x = layer(x, shape, pool=layer is self._layers[-1])
        projected = functional.linear(self._final_norm(x), self._projection)
        return functional.normalize(projected.float(), dim=-1)


class TorchTextTower:
    """Tokens without padding in, unit vectors out."""

    def __init__(self, of: weights.TextWeights, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._tokens, self._positions = of.tokens.to(device, dtype), of.positions.to(device, dtype)
        self._trunk = _Trunk(of.trunk, device, dtype)

    @torch.inference_mode()
    def __call__(self, layout: Layout) -> Vectors:
        """(count, dimension)."""
        rows, positions, pooled, padded_pooled = (
            sent(places, self._device)
            for places in (layout.rows, layout.positions, layout.pooled, layout.padded_pooled)
        )
        spread, kept = (
            None if places is None else sent(places, self._device) for places in (layout.spread, layout.kept)
        )
        x = functional.embedding(rows, self._tokens) + functional.embedding(positions, self._positions)
        shape = _Shape(layout.count, layout.longest, True, pooled, padded_pooled, spread, kept)
        return _fetched(self._trunk(x, shape))

    def padded(self, ids: Tensor, ends: Tensor) -> Tensor:
        """Tokens (count, longest), padded on the right, and the place of each pooled one (count,) → (count,
        dimension). All on the device, and the same kernels whatever the tokens are.
        """
        count, longest = ids.shape
        pooled = torch.arange(count, device=self._device) * longest + ends
        x = functional.embedding(ids, self._tokens) + self._positions[:longest]
        return self._trunk(x.flatten(0, 1), _Shape(count, longest, True, pooled, pooled))


class TorchImageTower:
    """Pixels in, unit vectors out."""

    def __init__(self, of: weights.ImageWeights, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype, self._patch_px = device, dtype, of.patch_px
        nothing = torch.zeros(len(of.patches))
        self._patches = linear_kind(device, dtype)(weights.Affine(of.patches, nothing), device, dtype)
        self._positions = of.positions.to(device, dtype)
        self._first_norm = _Norm(of.first_norm, of.trunk.epsilon, device, dtype)
        self._trunk = _Trunk(of.trunk, device, dtype)

    @torch.inference_mode()
    def __call__(self, pixels: NDArray[np.uint8]) -> Vectors:
        """uint8 (count, size_px, size_px, 3) → (count, dimension)."""
        return _fetched(self.of_sent(sent(pixels, self._device)))

    def of_sent(self, pixels: Tensor) -> Tensor:
        """The same of pixels on the device, where the vectors stay."""
        count, side = pixels.shape[0], pixels.shape[1] // self._patch_px
        grid = pixels.view(count, side, self._patch_px, side, self._patch_px, 3)
        patches = grid.transpose(2, 3).reshape(count * side * side, -1)
        centred = patches.to(self._dtype) - weights.PIXEL_CENTRE
        embedded = self._patches(centred).view(count, side * side, -1) + self._positions[1:]
        first = self._positions[:1].expand(count, 1, -1)
        x = self._first_norm(torch.cat([first, embedded], dim=1))
        pooled = torch.arange(count, device=self._device) * x.shape[1]
        shape = _Shape(count, x.shape[1], False, pooled, pooled)
        return self._trunk(x.flatten(0, 1), shape)


def _fetched(vectors: Tensor) -> Vectors:
    found: Vectors = vectors.cpu().numpy()
    return found
