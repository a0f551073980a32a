"""What preparing a photo takes: decoded whole, and shrunk on load, beside transformers' image processor.

No service and no model: one thread prepares JPEGs of three sizes. The ways take turns, photo by photo, so
that the machine is the same for all; times are medians. Then the image tower tells how far the vectors of
both ways are apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from scripts.benchmark.photos import jpeg
from scripts.console import log
from scripts.measurement.random_checkpoint import FASHION_CLIP_SHAPE, make_checkpoint
from scripts.measurement.report import Figure
from serve_app.photos import ImageGeometry, prepare_photo

SIZES_PX = ((800, 1000), (1600, 2000), (2400, 3000))
LEAST_COSINE = 0.999  # issue 6, "Deliver" 4
WHOLE, SHRUNK = "whole", "shrunk on load"

Way = Callable[[bytes], Any]
Times = dict[str, float]


def measure(directory: Path, model: str | None, photos: int, rounds: int) -> tuple[list[Figure], Any]:
    """The figures, and all that they come from. Prints a table."""
    checkpoint = Path(model) if model else make_checkpoint(directory / "checkpoint", FASHION_CLIP_SHAPE)
    geometry = ImageGeometry.of(checkpoint)
    files = {size: [jpeg([0, number], size) for number in range(photos)] for size in SIZES_PX}
    ways = _ways(checkpoint, geometry)
    times_ms = {size: _medians_ms(ways, own, rounds) for size, own in files.items()}
    _print(times_ms)
    figures = [
        Figure(f"{width} x {height} px: shrunk on load over whole, time", own[SHRUNK] / own[WHOLE])
        for (width, height), own in times_ms.items()
    ]
    least = _least_cosine(checkpoint, geometry, [file for own in files.values() for file in own])
    figures.append(Figure("least cosine of a photo, shrunk on load to whole", least, least=LEAST_COSINE))
    return figures, {f"{width} x {height}": own for (width, height), own in times_ms.items()}


def _ways(checkpoint: Path, geometry: ImageGeometry) -> dict[str, Way]:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil.from_pretrained(checkpoint)
    return {
        "image processor of transformers": lambda data: processor(Image.open(BytesIO(data))),
        WHOLE: partial(prepare_photo, geometry=replace(geometry, shrinks=False)),
        SHRUNK: partial(prepare_photo, geometry=geometry),
        "of which decoding, whole": lambda data: Image.open(BytesIO(data)).load(),
        "of which decoding, shrunk": partial(_decode_shrunk, geometry),
    }


def _decode_shrunk(geometry: ImageGeometry, data: bytes) -> None:
    photo = Image.open(BytesIO(data))
    photo.draft(None, (geometry.least_decoded_px, geometry.least_decoded_px))
    photo.load()


def _medians_ms(ways: dict[str, Way], files: list[bytes], rounds: int) -> Times:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(files[0])
    for _ in range(rounds):
        for file in files:
            for name, way in ways.items():
                started = time.perf_counter()
                way(file)
                times[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(own) for name, own in times.items()}


def _least_cosine(checkpoint: Path, geometry: ImageGeometry, files: list[bytes]) -> float:
    from serve_app.encoder import FashionClipEncoder

    encoder = FashionClipEncoder.load(checkpoint, towers=["image"], dtype="float32")
    whole, shrunk = (
        encoder.encode_images(np.stack([prepare_photo(file, one) for file in files]))
        for one in (replace(geometry, shrinks=False), geometry)
    )
    return float((whole * shrunk).sum(axis=1).min())


def _print(times_ms: dict[tuple[int, int], Times]) -> None:
    sizes = (f"{width} x {height}" for width, height in times_ms)
    table = Table("ms a photo, one thread", *sizes, title="Preparing a JPEG")
    for name in next(iter(times_ms.values())):
        table.add_row(name, *(f"{own[name]:.2f}" for own in times_ms.values()))
    log.print(table)
