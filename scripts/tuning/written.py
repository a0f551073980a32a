"""The config that a run writes: the one it began with, its tuned values explained where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from models.errors import ConfigurationError
from scripts.tuning.config_text import Place, value_at, with_values
from scripts.tuning.descent import Trial
from scripts.tuning.knobs import ARGS, DEPLOYMENTS, places_of, values_of
from scripts.tuning.outcome import Outcome

CACHED: Place = (*ARGS, "calls", "cached_prompts")
IMAGE_THREADS: Place = (*ARGS, "image_embedder", "threads")
EMBED_BATCH: Place = (*ARGS, "indexer", "embed_batch")
IMAGE_BATCH: Place = (*DEPLOYMENTS, "ImageEmbedder", "user_config", "max_batch_size")
PROMPT_BYTES = 2048


def cached_prompts(memory_mb: float, ingress_replicas: float) -> int:
    """Prompts that each Ingress replica remembers in its share of ``memory_mb`` (2**20 bytes)."""
    return int(memory_mb * 2**20 / PROMPT_BYTES / ingress_replicas)


def tuned_text(
    text: str, outcome: Outcome, others: Mapping[Place, tuple[Any, str]], header: Sequence[str]
) -> str:
    """``others``: values that the service was not asked for, with why. ``header``: lines above all."""
    document = yaml.safe_load(text)
    values = values_of(outcome.tuned, outcome.start, document)
    comments = {
        places_of(knob, document)[0]: f"tuned: {'; '.join(said)}" for knob, said in _said(outcome).items()
    }
    for place, (value, why) in others.items():
        if value_at(document, place) != value:
            values[place] = value
        comments[place] = f"tuned: {why}"
    own = {place: comment for place, comment in comments.items() if _stands(place, document, values)}
    return "".join(f"# {line}\n" for line in header) + with_values(text, values, own)


def require_free(output: Path, *, force: bool) -> None:
    """Before minutes are spent. Raises ConfigurationError."""
    if output.exists() and not force:
        raise ConfigurationError(
            f"{output} is there already. Give another --output, or --force to replace it."
        )
    probe = output.with_name(f".{output.name}.writable")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"{output} cannot be written ({error.strerror}). Give another: --output FILE."
        ) from None


def write_config(text: str, output: Path) -> None:
    """Only what the service takes appears there. Raises ConfigurationError."""
    from serve_app.local_config import load_config

    part = output.with_name(f".{output.name}.part")
    part.write_text(text, "utf-8")
    try:
        load_config(part)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _said(outcome: Outcome) -> dict[str, list[str]]:
    """What was tried of each knob, in words."""
    said: dict[str, list[str]] = {}
    for trial in outcome.trials:
        said.setdefault(trial.knob, []).append(_words(trial, adopted=outcome.adopted))
    for knob, words in said.items():
        former, value = outcome.start[knob], outcome.tuned[knob]
        words.insert(0, f"kept at {value:g}" if former == value else f"was {former:g}")
    return said


def _words(trial: Trial, *, adopted: bool) -> str:
    if trial.error:
        return f"{trial.value:g} does not start"
    if trial.held is not None:
        words = f"{trial.value:g} held {trial.held:.0f}/s where {trial.former:g} held {trial.best_rate:.0f}/s"
        return words if adopted else f"{words}, but not when both were asked in turns"
    return f"{trial.value:g} was not better than {trial.best_rate:.0f}/s ({trial.probes[-1]})"


def _stands(place: Place, document: Any, values: Mapping[Place, Any]) -> bool:
    return place in values or value_at(document, place) is not None
