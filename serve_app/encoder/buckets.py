"""A few fixed shapes for batches of any: a CUDA graph computes one shape alone.

A batch is padded with rows of whatever stood there before, which change no other row's vector, and prompts on
the right with tokens that causal attention keeps from the pooled one.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.encoder.layout import Layout, Places

Vectors = NDArray[np.float32]
# Computing a few prompts takes a GPU less time than launching its kernels: padding is cheap there.
TEXT_BATCHES = 1, 2, 4, 8, 16, 32, 64
LENGTHS = 8, 16, 24, 32, 48, 77
IMAGE_BATCHES = 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128


class Run(Protocol):
    """(count, …) each, count ≤ ``batch``, computed in the shape of ``batch`` → unit vectors (count, width).

    May be called from several threads.
    """

    def __call__(self, batch: int, *rows: NDArray[Any]) -> Vectors: ...


def bucket_for(size: int, buckets: Sequence[int]) -> int:
    """The smallest that holds ``size``, or the largest."""
    return buckets[min(bisect_left(buckets, size), len(buckets) - 1)]


def lengths_of(limit: int) -> list[int]:
    """The lengths for a model that reads ``limit`` tokens; the last is ``limit``."""
    return [*(length for length in LENGTHS if length < limit), limit]


def padded(layout: Layout, length: int) -> tuple[Places, Places]:
    """Tokens (count, length), 0 behind each prompt, and the place of each prompt's pooled token (count,)."""
    ids = np.zeros((layout.count, length), np.int64)
    ends = layout.padded_pooled % layout.longest
    ids[np.repeat(np.arange(layout.count), ends + 1), layout.positions] = layout.rows
    return ids, ends


class BucketedTextTower:
    """As ``TorchTextTower``, in fixed shapes. ``limit``: the tokens that the model reads."""

    def __init__(self, run: Run, limit: int) -> None:
        self._run, self._lengths = run, lengths_of(limit)

    def __call__(self, layout: Layout) -> Vectors:
        return _in_parts(self._run, TEXT_BATCHES, padded(layout, bucket_for(layout.longest, self._lengths)))

    def warm_up(self, until: float) -> None:
        """Run each shape once, those that will come most first; begin none after ``until``."""
        for length, batch in product(self._lengths, TEXT_BATCHES):
            if time.monotonic() >= until:
                return
            self._run(batch, np.zeros((batch, length), np.int64), np.zeros(batch, np.int64))


class BucketedImageTower:
    """As ``TorchImageTower``, in fixed shapes. ``size_px``: of the photos."""

    def __init__(self, run: Run, size_px: int) -> None:
        self._run, self._size_px = run, size_px

    def __call__(self, pixels: NDArray[np.uint8]) -> Vectors:
        return _in_parts(self._run, IMAGE_BATCHES, (pixels,))

    def warm_up(self, until: float) -> None:
        """As ``BucketedTextTower.warm_up``."""
        for batch in IMAGE_BATCHES:
            if time.monotonic() >= until:
                return
            self._run(batch, np.zeros((batch, self._size_px, self._size_px, 3), np.uint8))


def _in_parts(run: Run, buckets: Sequence[int], rows: tuple[NDArray[Any], ...]) -> Vectors:
    count, most = len(rows[0]), buckets[-1]
    found = [
        run(bucket_for(min(most, count - start), buckets), *(one[start : start + most] for one in rows))
        for start in range(0, count, most)
    ]
    return found[0] if len(found) == 1 else np.concatenate(found)
