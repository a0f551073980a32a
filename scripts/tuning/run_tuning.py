"""The stages of a run: bare towers, the service as it is, one change after the other, and both in turns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml

from configs.serving import AppArgs
from models.errors import ConfigurationError
from scripts.benchmark.encoder_rates import print_rates
from scripts.benchmark.http_load import Target
from scripts.benchmark.photos import write_photos
from scripts.benchmark.prompted_catalogue import prompted_catalogue
from scripts.benchmark.workbench import workbench
from scripts.console import log
from scripts.measurement.random_checkpoint import FASHION_CLIP_SHAPE, make_checkpoint
from scripts.tuning.bare_towers import PHOTO_BATCHES, Choice, photo_choice, text_choice, tower_rates
from scripts.tuning.budget import Budget
from scripts.tuning.config_text import Place, value_at
from scripts.tuning.descent import Best, Descent, Setting, in_turns
from scripts.tuning.hardware import Hardware, hardware
from scripts.tuning.highest_rate import LEAST_RATE, TOLERANCE, highest_rate
from scripts.tuning.knobs import DEPLOYMENTS, INGRESS_REPLICAS, Found, has_room, knobs_of, setting_of
from scripts.tuning.live_service import LiveService, write_measured
from scripts.tuning.outcome import Outcome, Verified
from scripts.tuning.redeploy import Redeploy
from scripts.tuning.written import CACHED, EMBED_BATCH, IMAGE_BATCH, IMAGE_THREADS, cached_prompts

TOP = 10
FIRST_SHARE = 0.5  # of the rate of a few clients, where the search begins
ROUNDS = 2  # of the verification; one where the time is short
PROBES_OF_TURN = 2  # about
PROBES_OF_TRIAL = 2
MOST_MARGIN = 1.25  # whatever the noise: both configs meet again in turns
MOST_CACHE_MB = 256.0
CACHE_SHARE = 1 / 200


@dataclass(frozen=True)
class Options:
    """``minutes``: for all of it; ``seconds``: of each probe; ``only``: the knobs to try; empty: all."""

    slo_ms: float
    config: Path
    model: str | None
    minutes: float
    seconds: float
    photos: int
    cache_mb: float | None
    only: Sequence[str] = ()


@dataclass(frozen=True)
class Tuned:
    """``others``: values that no request to the service chose, with why."""

    outcome: Outcome
    others: dict[Place, tuple[Any, str]]
    hardware: Hardware


def tune(directory: Path, options: Options) -> Tuned:
    """Says what it does. Raises ConfigurationError."""
    from serve_app.local_config import load_config

    budget, here = Budget(60 * options.minutes), hardware()
    config = load_config(options.config)
    text = options.config.read_text("utf-8")
    document = yaml.safe_load(text)
    start = setting_of(document, config.args)
    if unknown := [name for name in options.only if name not in start]:
        raise ConfigurationError(
            f"--only '{unknown[0]}' is nothing to try here. Give some of: {', '.join(start)}."
        )
    say(f"This machine: {here}. At most {options.minutes:g} minutes.")
    own = None if options.model is None else Path(options.model)
    if own is not None and not own.is_dir():
        raise ConfigurationError(f"--model {own} is no directory. Give a checkpoint's, or leave it out.")
    checkpoint = own or make_checkpoint(directory / "checkpoint", FASHION_CLIP_SHAPE)
    rates = tower_rates(checkpoint, config.args.text_embedder, here.cores)
    print_rates(rates, "prompts")
    texts = text_choice(rates, options.slo_ms)
    photos = _photos(directory, checkpoint, document, config.args, here)
    for line in (*texts.lines, *photos.lines):
        say(line)
    found = Found(here, texts.threads, texts.batches, options.slo_ms, options.only or tuple(start))
    with _service(directory, options, text, start, checkpoint) as service:
        outcome = _in_service(service, budget, document, found)
    outcome.lines = [*texts.lines, *photos.lines, *map(str, outcome.trials), *outcome.lines]
    return Tuned(outcome, _others(options, outcome, photos, document, here), here)


def say(line: str) -> None:
    log.print(line, markup=False)


def _photos(directory: Path, checkpoint: Path, document: Any, args: AppArgs, here: Hardware) -> Choice:
    files = directory / "photos"
    write_photos(files, 2 * max(PHOTO_BATCHES))
    own = value_at(document, (*DEPLOYMENTS, "ImageEmbedder"), {})
    scaling = own.get("autoscaling_config") or {}
    replicas = scaling.get("max_replicas", own.get("num_replicas", 1))
    replicas = replicas if isinstance(replicas, int) else 1
    rates = tower_rates(checkpoint, args.image_embedder, max(1, here.cores // replicas), files)
    print_rates(rates, "photos")
    return photo_choice(rates, replicas, args.image_embedder.threads or 1, args.indexer.embed_batch)


@contextmanager
def _service(
    directory: Path, options: Options, text: str, start: Setting, checkpoint: Path
) -> Iterator[LiveService]:
    config = write_measured(options.config, directory / "measured.yaml")
    with ExitStack() as running:
        bench = running.enter_context(workbench(directory, str(checkpoint), config))
        redeploy = running.enter_context(Redeploy(bench.data.path))
        say(f"Storing {options.photos:,} photos ...")
        catalogue = prompted_catalogue(bench, options.photos, seed=1)
        bench.wait_until_quiet()
        target = Target(
            f"{bench.running.url}/api/recommendations/",
            {"Authorization": f"Bearer {catalogue.shop.key}"},
            lambda prompt: {"prompt": prompt, "number_of_images": TOP},
        )
        yield LiveService(bench, redeploy, target, text, start, options.slo_ms, options.seconds)


def _in_service(service: LiveService, budget: Budget, document: Any, found: Found) -> Outcome:
    start, slo_ms = service.start, found.slo_ms
    service.apply(start)
    outcome = Outcome(slo_ms, start, highest_rate(service.probe, slo_ms, FIRST_SHARE * service.warm_up()))
    first = outcome.first
    if first.rate is None:
        return outcome
    say(f"As it is: holds {first.rate:.0f}/s ({', '.join(map(str, first.probes))}).")
    psutil.cpu_percent()
    again = highest_rate(service.probe, slo_ms, first.rate, step=TOLERANCE).rate or LEAST_RATE
    busy = psutil.cpu_percent() / 100
    outcome.noise = abs(math.log(again / first.rate))
    best = Best(start, max(first.rate, again))
    margin = min(max(TOLERANCE, 1 + outcome.noise), MOST_MARGIN)
    say(f"Once more: {again:.0f}/s; the machine's cores are {busy:.0%} busy meanwhile.")
    say(f"A change must hold {margin:.2f} times {best.rate:.0f}/s, twice, to be taken.")
    if outcome.noise > math.log(MOST_MARGIN):
        outcome.lines.append("The same config's rates differ much: is other work on this machine?")
    descent = Descent(
        *(service, slo_ms, margin),
        allowed=partial(has_room, document=document, machine=found.hardware),
        affordable=partial(_affordable, service, budget),
        told=lambda trial: say(f"[{budget.used_s():.0f} s] {trial}"),
        trials=outcome.trials,
    )
    outcome.best = descent.run(knobs_of(start, found, busy), best)
    if descent.left_out:
        left = ", ".join(descent.left_out)
        outcome.lines.append(f"There was no time for {left}: give more --minutes, or go on from the result.")
    _verify(service, budget, outcome, Best(start, best.rate))
    for line in outcome.lines:
        say(line)
    return outcome


def _affordable(service: LiveService, budget: Budget, setting: Setting) -> bool:
    """A trial, and what comes after it in any case: both settings once more, the new one in place."""
    trial_s = service.change_s(service.setting, setting) + PROBES_OF_TRIAL * service.probe_s()
    return budget.has(trial_s + _turn_s(service, setting, service.start))


def _verify(service: LiveService, budget: Budget, outcome: Outcome, start: Best) -> None:
    """Both in turns: rates that were found at different times may differ by the machine's alone."""
    best = outcome.best or start
    changed = best.setting != start.setting
    say(f"The config as it was{', and the best, in turns' if changed else ', once more'} ...")
    rounds = ROUNDS if changed else 1

    def goes_on(done: int) -> bool:
        turn_s = _turn_s(service, start.setting, best.setting)
        return done < 1 or (done < rounds and budget.has(turn_s))

    turns = in_turns(service, outcome.slo_ms, [start, best] if changed else [start], goes_on)
    outcome.verified = Verified(turns)
    last, first = outcome.verified.rate(0), outcome.first.rate or 0.0
    outcome.lines.append(f"The config as it was: {first:.0f}/s at first, {last:.0f}/s at last.")
    if changed:
        gain = outcome.verified.gain()
        outcome.adopted = gain >= TOLERANCE
        rates = f"{outcome.verified.rate(1):.0f}/s, {gain:.2f} of the former config's beside it"
        kept = "kept" if outcome.adopted else "not kept: noise may be as much"
        outcome.lines.append(f"The best that was tried: {rates}; {kept}.")
    elif outcome.trials:
        outcome.lines.append("Nothing that was tried holds a higher rate.")


def _turn_s(service: LiveService, one: Setting, other: Setting) -> float:
    """Both settings once, with the first one in place."""
    return service.change_s(one, other) + 2 * PROBES_OF_TURN * service.probe_s()


def _others(
    options: Options, outcome: Outcome, photos: Choice, document: Any, here: Hardware
) -> dict[Place, tuple[Any, str]]:
    """What no request to the service chose: bulk work's batches and threads, and the cache."""
    memory = options.cache_mb or min(MOST_CACHE_MB, here.memory_gib * 1024 * CACHE_SHARE)
    cached = cached_prompts(memory, outcome.tuned.get(INGRESS_REPLICAS, 1))
    (threads,), (batch,) = photos.threads, photos.batches
    why = dict(zip((IMAGE_THREADS, EMBED_BATCH), photos.lines, strict=True))
    others: dict[Place, tuple[Any, str]] = {
        CACHED: (cached, f"{memory:.0f} MB of all Ingress replicas; not measured, prompts were distinct"),
        IMAGE_THREADS: (threads, why[IMAGE_THREADS]),
        EMBED_BATCH: (batch, why[EMBED_BATCH]),
    }
    merged = value_at(document, IMAGE_BATCH)
    if isinstance(merged, int) and merged < batch:
        others[IMAGE_BATCH] = (batch, "a call of indexer.embed_batch photos in one pass")
    return others
