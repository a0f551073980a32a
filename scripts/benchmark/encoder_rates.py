"""A bare tower at several batch sizes and settings, the settings taking turns."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from configs.serving import EmbedderArgs
from scripts.benchmark.bare_model import BareModel, BareRound
from scripts.console import log
from scripts.measurement.report import Figure
from serve_app.encoder import choose_device, choose_dtype

BATCHES = 1, 8, 16, 32


@dataclass(frozen=True)
class EncoderRate:
    """Medians over rounds: items a second, milliseconds of a batch, core milliseconds of an item."""

    setting: str
    batch: int
    rate: float
    batch_p50_ms: float
    core_ms: float


def settings_of(args: EmbedderArgs, threads: Sequence[int]) -> dict[str, EmbedderArgs]:
    """torch and, on a GPU, CUDA graphs, or on a CPU OpenVINO where installed; with each of ``threads``."""
    device = choose_device(args.device)
    served = choose_dtype("auto" if args.dtype == "int8" else args.dtype, device)
    name = str(served).removeprefix("torch.")
    kinds = {f"torch {name}": args.model_copy(update={"backend": "torch", "dtype": name})}
    if device.type == "cuda":
        kinds[f"CUDA graphs {name}"] = args.model_copy(update={"backend": "cuda_graphs", "dtype": name})
    if device.type == "cpu" and find_spec("openvino") is not None:
        for dtype in ("bfloat16", "int8"):
            kinds[f"openvino {dtype}"] = args.model_copy(update={"backend": "openvino", "dtype": dtype})
    return {
        f"{kind}, {count} thread(s)": own.model_copy(update={"threads": count})
        for kind, own in kinds.items()
        for count in threads
    }


def encoder_rates(
    checkpoint: Path,
    settings: Mapping[str, EmbedderArgs],
    items: Mapping[int, int],
    rounds: int,
    photos: Path | None = None,
) -> list[EncoderRate]:
    """``items``: by batch size, how many are embedded in a round. With ``photos`` the image tower."""
    found: dict[tuple[str, int], list[BareRound]] = defaultdict(list)
    with ExitStack() as running:
        models = {
            name: running.enter_context(BareModel(checkpoint, args, photos))
            for name, args in settings.items()
        }
        for _ in range(rounds):
            for batch, count in items.items():
                for name, model in models.items():
                    model.measure(batch, batch)
                    found[name, batch].append(model.measure(count, batch))
    return [_median(name, batch, own) for (name, batch), own in sorted(found.items())]


def figures_of(rates: Sequence[EncoderRate], what: str) -> list[Figure]:
    return [
        Figure(f"bare encoder, {one.setting}, batches of {one.batch}: {what}/s", one.rate) for one in rates
    ]


def rows_of(rates: Sequence[EncoderRate]) -> list[dict[str, object]]:
    """As JSON has them."""
    return [asdict(one) for one in rates]


def print_rates(rates: Sequence[EncoderRate], what: str) -> None:
    table = Table(
        "setting", "batch", f"{what}/s", "a batch, ms", f"core ms a {what[:-1]}", title="Bare encoder"
    )
    for one in rates:
        row = f"{one.rate:.1f}", f"{one.batch_p50_ms:.1f}", f"{one.core_ms:.2f}"
        table.add_row(one.setting, str(one.batch), *row)
    log.print(table)


def _median(setting: str, batch: int, rounds: Sequence[BareRound]) -> EncoderRate:
    return EncoderRate(
        setting,
        batch,
        statistics.median(one.rate for one in rounds),
        1000 * statistics.median(time_s for one in rounds for time_s in one.times_s),
        statistics.median(one.core_ms for one in rounds),
    )
