"""What the towers reach alone: which threads and batch sizes are worth a try in the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.serving import EmbedderArgs
from scripts.benchmark.encoder_rates import EncoderRate, encoder_rates
from scripts.tuning.highest_rate import TOLERANCE
from scripts.tuning.knobs import BATCHES, powers_of_two
from serve_app.encoder import choose_device

SINGLES, BATCHED = 48, 192  # prompts of a round
PHOTO_BATCHES = 4, 8, 16, 24  # 24 is the most that a call carries
PHOTOS = 48  # of a round
ROUNDS = 2
ENOUGH = 0.95  # of the best rate: smaller batches are over sooner
MOST_THREADS = 8


@dataclass(frozen=True)
class Choice:
    """``threads`` and ``batches`` that are left; ``lines`` say why."""

    threads: tuple[int, ...]
    batches: tuple[int, ...]
    lines: list[str]


def tower_rates(
    checkpoint: Path, args: EmbedderArgs, cores: int, photos: Path | None = None
) -> list[EncoderRate]:
    """Of the text tower or, with ``photos``, the image tower, by threads (``setting``) and batch size.

    ``cores``: those that a replica may have.
    """
    on_cpu = choose_device(args.device).type == "cpu"
    threads = powers_of_two(min(cores, MOST_THREADS)) if on_cpu else (args.threads or 1,)
    settings = {str(count): args.model_copy(update={"threads": count}) for count in threads}
    items = dict.fromkeys((1, *BATCHES), BATCHED) | {1: SINGLES}
    if photos is not None:
        items = dict.fromkeys(PHOTO_BATCHES, PHOTOS)
    return encoder_rates(checkpoint, settings, items, ROUNDS, photos)


def text_choice(rates: Sequence[EncoderRate], slo_ms: float) -> Choice:
    """Batches whose own time keeps the limit, and threads that make more than fewer ones do."""
    lines, fastest = [], {one.batch: one for one in sorted(rates, key=lambda one: -one.batch_p50_ms)}
    batches = tuple(size for size in BATCHES if fastest[size].batch_p50_ms <= slo_ms)
    for size in BATCHES:
        if size not in batches:
            took = f"a batch of {size} takes {fastest[size].batch_p50_ms:.0f} ms alone"
            lines.append(f"TextEmbedder max_batch_size: not {size}; {took}, beyond the limit")
    best = {threads: max(own, key=lambda one: one.rate) for threads, own in by_threads(rates).items()}
    threads = [min(best)]
    for count, own in best.items():
        former = best[threads[-1]]
        words = f"{count} make {own.rate:.0f} prompts/s alone, {threads[-1]} {former.rate:.0f}"
        if count == threads[-1]:
            continue
        if own.rate >= TOLERANCE * former.rate:
            threads.append(count)
            lines.append(f"text_embedder.threads: {words}; tried under load")
        else:
            lines.append(f"text_embedder.threads: not {count}; {words}")
    return Choice(tuple(threads), batches or BATCHES[:1], lines)


def photo_choice(rates: Sequence[EncoderRate], replicas: int, threads: int, batch: int) -> Choice:
    """One number of threads and one batch size: those that are there, or what is a tenth faster.

    ``replicas``: that share the cores.
    """
    own = by_threads(rates)
    threads = threads if threads in own else min(own)
    for count, rated in own.items():
        if _best(rated).rate >= TOLERANCE * _best(own[threads]).rate:
            threads = count
    by_batch = {one.batch: one.rate for one in own[threads]}
    most = max(by_batch.values())
    if by_batch.get(batch, 0) * TOLERANCE < most:
        batch = min(size for size, rate in by_batch.items() if rate >= ENOUGH * most)
    table = ", ".join(f"{size}: {rate:.0f}" for size, rate in by_batch.items())
    lines = [
        f"image_embedder.threads {threads}: up to {replicas} replica(s) share the cores",
        f"indexer.embed_batch {batch}: photos/s alone by batch size: {table}",
    ]
    return Choice((threads,), (batch,), lines)


def by_threads(rates: Sequence[EncoderRate]) -> dict[int, list[EncoderRate]]:
    """Ascending; the rates of each by batch size."""
    ordered = sorted(rates, key=lambda one: (int(one.setting), one.batch))
    found: dict[int, list[EncoderRate]] = {}
    for one in ordered:
        found.setdefault(int(one.setting), []).append(one)
    return found


def _best(rates: Sequence[EncoderRate]) -> EncoderRate:
    return max(rates, key=lambda one: one.rate)
