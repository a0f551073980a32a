"""Checkpoints with random weights, which tests and benchmarks make on the spot."""

from __future__ import annotations

from scripts.measurement.random_checkpoint import FASHION_CLIP_SHAPE, TINY, WORDS, Shape, make_checkpoint

__all__ = ["FASHION_CLIP_SHAPE", "TINY", "WORDS", "Shape", "make_checkpoint"]
