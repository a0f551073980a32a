"""The image tower alone, and the stages of a plain loop over files: decoding, resizing, the model.

The bare encoder in a process by itself: batches of 1, 8, 16 and 32 photos whose pixels are ready, with each
number of threads. Then the same process over files of 800 x 1000 px: each is read, decoded and resized as
the workers do, and encoded in batches of 8, one after the other. What that costs above the bare encoder is
what the service's workers take off its replicas.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from configs.serving import EmbedderArgs
from scripts.benchmark.bare_model import BareModel
from scripts.benchmark.encoder_rates import (
    BATCHES,
    encoder_rates,
    figures_of,
    print_rates,
    rows_of,
    settings_of,
)
from scripts.benchmark.photos import write_photos
from scripts.console import log
from scripts.measurement.random_checkpoint import FASHION_CLIP_SHAPE, make_checkpoint
from scripts.measurement.report import Figure

SINGLES, BATCHED = 16, 96  # photos of a round
LOOP_BATCH = 8


@dataclass(frozen=True)
class Stages:
    """Of one setting, medians: photos a second with ready pixels and from files; core ms of a photo."""

    rate: float
    rate_from_files: float
    decode_ms: float
    model_ms: float
    all_ms: float


@dataclass(frozen=True)
class Options:
    """``device``: of the encoder; None: the config's."""

    device: str | None
    threads: Sequence[int]
    rounds: int


def measure(directory: Path, model: str | None, config: Path, options: Options) -> tuple[list[Figure], Any]:
    """The figures, and all that they come from. Prints tables."""
    from serve_app.local_config import load_config

    args = load_config(config).args.image_embedder
    if options.device is not None:
        args = args.model_copy(update={"device": options.device})
    settings, rounds = settings_of(args, options.threads), options.rounds
    checkpoint = Path(model) if model else make_checkpoint(directory / "checkpoint", FASHION_CLIP_SHAPE)
    photos = directory / "photos"
    write_photos(photos, max(BATCHES))
    items = {size: SINGLES if size == 1 else BATCHED for size in BATCHES}
    rates = encoder_rates(checkpoint, settings, items, rounds, photos)
    print_rates(rates, "photos")
    stages = {name: _stages(checkpoint, args, photos, rounds) for name, args in settings.items()}
    _print(stages)
    figures = figures_of(rates, "photos")
    for name, own in stages.items():
        figures.append(Figure(f"a loop over files, {name}: photos/s", own.rate_from_files))
        share = own.rate_from_files / own.rate
        figures.append(Figure(f"a loop over files over the bare encoder, {name}", share))
    details = {name: asdict(own) for name, own in stages.items()}
    return figures, {"bare": rows_of(rates), "stages": details}


def _stages(checkpoint: Path, args: EmbedderArgs, photos: Path, rounds: int) -> Stages:
    with BareModel(checkpoint, args, photos) as model:
        model.measure(LOOP_BATCH, LOOP_BATCH)
        pairs = [
            (
                model.measure(BATCHED, LOOP_BATCH),
                model.measure(BATCHED, LOOP_BATCH, from_files=True),
            )
            for _ in range(rounds)
        ]
    return Stages(
        statistics.median(ready.rate for ready, _ in pairs),
        statistics.median(whole.rate for _, whole in pairs),
        1000 * pairs[0][0].decode_s,
        statistics.median(ready.core_ms for ready, _ in pairs),
        statistics.median(whole.core_ms for _, whole in pairs),
    )


def _print(stages: dict[str, Stages]) -> None:
    names = "setting", "ready pixels/s", "from files/s", "decode and resize", "model", "in all"
    table = Table(*names, title="A loop over files; core ms a photo")
    for name, own in stages.items():
        values = own.rate, own.rate_from_files, own.decode_ms, own.model_ms, own.all_ms
        table.add_row(name, *(f"{one:.1f}" for one in values))
    log.print(table)
