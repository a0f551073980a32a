"""What a GPU computes in a second, kept as the benchmarks keep their runs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.benchmark.results import document_of, require_writable, save
from scripts.console import out
from scripts.measurement.report import Figure
from serve_app.encoder import FashionClipEncoder
from tests.checkpoints import WORDS

NO_GPU = "torch sees no GPU: pytest tests/gpu -s on a machine with one checks it and records its rates"
RECORD = "GPU_RECORD"
PROMPTS = 1, 8, 32, 64
PHOTOS = 1, 8, 24, 96
ROUNDS = 60
WARM_UP = 10


def prompts_of(count: int, seed: int = 0) -> list[str]:
    """Other seeds give longer ones."""
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(0, 1 + seed % 90))) for _ in range(count)]


def photos_of(count: int, seed: int = 0, size_px: int = 224) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8)


def tower_rates(
    encoders: Mapping[str, FashionClipEncoder], size_px: int = 224, rounds: int = ROUNDS
) -> list[Figure]:
    """Of both towers by batch size: items a second of each encoder, in turns, and milliseconds of a batch."""
    figures: list[Figure] = []
    for count in PROMPTS:
        batch = [f"a {WORDS[number % len(WORDS)]} dress with dots" for number in range(count)]
        calls = {name: one.encode_texts for name, one in encoders.items()}
        figures += _rates(f"text tower, {{}}, {count} prompts", count, calls, batch, rounds)
    for count in PHOTOS:
        photos = photos_of(count, size_px=size_px)
        images = {name: one.encode_images for name, one in encoders.items()}
        figures += _rates(f"image tower, {{}}, {count} photos", count, images, photos, rounds)
    return figures


def keep(name: str, figures: Sequence[Figure], details: Any = None) -> Path:
    """Print them, and write them with what they were measured on into $GPU_RECORD or benchmark-results."""
    directory = Path(os.environ.get(RECORD) or "benchmark-results")
    require_writable(directory)
    path = save(document_of(name, {}, list(figures), details), directory)
    out.print(f"\n{path}", markup=False)
    for figure in figures:
        out.print(str(figure), markup=False)
    return path


def _rates(name: str, count: int, encode: Mapping[str, Any], batch: Any, rounds: int) -> list[Figure]:
    times_s: dict[str, list[float]] = {kind: [] for kind in encode}
    for _ in range(rounds + WARM_UP):
        for kind, one in encode.items():
            began = time.perf_counter()
            found = one(batch)
            times_s[kind].append(time.perf_counter() - began)
            if not np.isfinite(found).all():
                raise AssertionError(f"{name.format(kind)}: vectors that are no numbers")
    medians = {kind: float(np.median(own[WARM_UP:])) for kind, own in times_s.items()}
    return [
        figure
        for kind, median in medians.items()
        for figure in (
            Figure(f"{name.format(kind)}: ms", 1000 * median),
            Figure(f"{name.format(kind)}: a second", count / median),
        )
    ]
