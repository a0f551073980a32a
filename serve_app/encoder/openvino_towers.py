"""Both towers of CLIP as OpenVINO models, for CPUs: the optional extra ``cpu``.

The graphs are those of ``towers.py``, built from the same weights: nothing is traced or converted, and every
batch size and length fits one compiled model. In int8 the products' weights are rounded to 8 bits, one scale
an output, and OpenVINO rounds what they are multiplied with at each call; all else stays in ``precision``.
"""

from __future__ import annotations

from threading import local
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from serve_app.encoder import weights
from serve_app.encoder.layout import Layout
from serve_app.encoder.openvino_quiet import openvino, ops

Precision = Literal["f32", "bf16"]
Vectors = NDArray[np.float32]
# How many inputs of a product share a scale when OpenVINO rounds them to int8.
_INT8_GROUP = 512


class OpenVinoTextTower:
    """As ``TorchTextTower``."""

    def __init__(self, of: weights.TextWeights, precision: Precision, *, int8: bool, threads: int) -> None:
        self._model = _Compiled(_text_model(of, int8), precision, int8, threads)

    def __call__(self, layout: Layout) -> Vectors:
        spread = np.arange(len(layout.rows)) if layout.spread is None else layout.spread
        kept = spread if layout.kept is None else layout.kept
        spread = spread.reshape(layout.count, layout.longest)
        return self._model(layout.rows, layout.positions, spread, kept, layout.pooled, layout.padded_pooled)


class OpenVinoImageTower:
    """As ``TorchImageTower``."""

    def __init__(self, of: weights.ImageWeights, precision: Precision, *, int8: bool, threads: int) -> None:
        self._model = _Compiled(_image_model(of, int8), precision, int8, threads)

    def __call__(self, pixels: NDArray[np.uint8]) -> Vectors:
        return self._model(np.ascontiguousarray(pixels))


class _Compiled:
    """A compiled model, with a request of its own for each thread that calls it."""

    def __init__(self, model: Any, precision: Precision, int8: bool, threads: int) -> None:
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _INT8_GROUP if int8 else 0,
        }
        self._model = openvino.Core().compile_model(model, "CPU", options)
        self._own = local()

    def __call__(self, *inputs: NDArray[Any]) -> Vectors:
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._model.create_infer_request()
        found: Vectors = request.infer(list(inputs), share_inputs=True)[0].copy()
        return found


def _text_model(of: weights.TextWeights, int8: bool) -> Any:
    rows, positions, kept, pooled, padded_pooled = (
        ops.parameter([-1], np.int64, name)
        for name in ("rows", "positions", "kept", "pooled", "padded_pooled")
    )
    spread = ops.parameter([-1, -1], np.int64, "spread")
    x = ops.add(_rows(_constant(of.tokens), rows), _rows(_constant(of.positions), positions))
    trunk = _Trunk(of.trunk, int8, causal=True)
    for layer in of.trunk.layers:
        attended = trunk.attend(_rows(trunk.qkv(x, layer), spread), layer)
        last = layer is of.trunk.layers[-1]
        x = trunk.rest(
            _rows(x, pooled) if last else x, _rows(attended, padded_pooled if last else kept), layer
        )
    return openvino.Model(
        [trunk.finished(x)], [rows, positions, spread, kept, pooled, padded_pooled], "text tower"
    )


def _image_model(of: weights.ImageWeights, int8: bool) -> Any:
    width, patch_px = len(of.patches), of.patch_px
    side = int((len(of.positions) - 1) ** 0.5)
    pixels = ops.parameter([-1, side * patch_px, side * patch_px, 3], np.uint8, "pixels")
    grid = ops.reshape(pixels, _whole([-1, side, patch_px, side, patch_px * 3]), False)
    patches = ops.reshape(
        ops.transpose(grid, _whole([0, 1, 3, 2, 4])), _whole([-1, side * side, patch_px**2 * 3]), False
    )
    centred = ops.subtract(ops.convert(patches, np.float32), ops.constant(np.float32(weights.PIXEL_CENTRE)))
    embedded = ops.add(ops.matmul(centred, _constant(of.patches), False, True), _constant(of.positions[1:]))
    count = ops.gather(ops.shape_of(pixels), _whole([0]), _whole(0))
    first = ops.broadcast(_constant(of.positions[:1]), ops.concat([count, _whole([1, width])], 0))
    trunk = _Trunk(of.trunk, int8, causal=False)
    x = trunk.norm(ops.concat([first, embedded], 1), of.first_norm)
    for layer in of.trunk.layers:
        attended = ops.reshape(
            trunk.attend(trunk.qkv(x, layer), layer), _whole([-1, side**2 + 1, width]), False
        )
        if layer is of.trunk.layers[-1]:
            attended, x = (ops.gather(one, _whole(0), _whole(1)) for one in (attended, x))
        x = trunk.rest(x, attended, layer)
    return openvino.Model([trunk.finished(x)], [pixels], "image tower")


class _Trunk:
    """The layers' parts, as nodes of a graph."""

    def __init__(self, of: weights.Trunk, int8: bool, *, causal: bool) -> None:
        self._of, self._int8, self._causal = of, int8, causal

    def qkv(self, x: Any, layer: weights.Layer) -> Any:
        return self._product(self.norm(x, layer.norm_1), layer.qkv)

    def attend(self, qkv: Any, layer: weights.Layer) -> Any:
        """(n, longest, 3 * width) → (n * longest, width). The scale is in the weights."""
        width, heads = len(layer.out.bias), self._of.heads
        parted = ops.reshape(qkv, _whole([0, 0, 3 * heads, width // heads]), True)
        q, k, v = ops.split(ops.transpose(parted, _whole([0, 2, 1, 3])), _whole(1), 3).outputs()
        no_mask, no_scale = (ops.constant(np.float32(value)) for value in (0, 1))
        attended = ops.scaled_dot_product_attention(q, k, v, no_mask, no_scale, causal=self._causal)
        return ops.reshape(ops.transpose(attended, _whole([0, 2, 1, 3])), _whole([-1, width]), False)

    def rest(self, x: Any, attended: Any, layer: weights.Layer) -> Any:
        x = ops.add(self._product(attended, layer.out), x)
        raised = self._product(self.norm(x, layer.norm_2), layer.up)
        active = ops.swish(raised) if self._of.activation == "silu" else ops.gelu(raised, "erf")
        return ops.add(self._product(active, layer.down), x)

    def finished(self, x: Any) -> Any:
        projected = ops.matmul(self.norm(x, self._of.final_norm), _constant(self._of.projection), False, True)
        return ops.normalize_l2(projected, _whole([-1]), 1e-12, "max")

    def norm(self, x: Any, of: weights.Affine) -> Any:
        even = ops.mvn(x, _whole([-1]), True, self._of.epsilon, "inside_sqrt")
        return ops.add(ops.multiply(even, _constant(of.weight)), _constant(of.bias))

    def _product(self, x: Any, of: weights.Affine) -> Any:
        matrix = _rounded(of.weight) if self._int8 else _constant(of.weight)
        return ops.add(ops.matmul(x, matrix, False, True), _constant(of.bias))


def _rounded(matrix: Tensor) -> Any:
    values = matrix.numpy()
    steps = np.maximum(np.abs(values).max(axis=1, keepdims=True) / 127, np.finfo(np.float32).tiny)
    whole = np.round(values / steps).astype(np.int8)
    return ops.multiply(ops.convert(ops.constant(whole), np.float32), ops.constant(steps.astype(np.float32)))


def _rows(table: Any, places: Any) -> Any:
    return ops.gather(table, places, _whole(0))


def _constant(values: Tensor) -> Any:
    return ops.constant(np.ascontiguousarray(values.numpy()))


def _whole(values: int | list[int]) -> Any:
    return ops.constant(np.array(values, dtype=np.int64))
