"""What each lossy step costs in answers, against float32 and whole decodes.

On the evaluation set of the bundled checkpoint: drawings and prompts as those of scripts.evaluate, which
training never saw, the drawings larger. They are JPEGs of the sizes of which the least is left when they are
shrunk on load. Random weights would not do: their scores lie too close together.

A step must keep 98 % of the ten best photos of a prompt, and the recall: how often a sentence that says
all about a drawing has it first, and among its ten best. A loss of up to 0.005 counts as the same: of 2,304
drawings that is eleven, whose scores are so close to another's that the last digits decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from scripts.console import log
from scripts.evaluation import prompts as asked
from scripts.evaluation.metrics import own_ranks, recall_at, top
from scripts.garments.captions import caption
from scripts.garments.picture import Look, draw, random_look
from scripts.garments.vocabulary import COLOURS, KINDS, PATTERNS
from scripts.measurement.report import Figure
from serve_app.encoder import FashionClipEncoder
from serve_app.photos import LEAST_PX, ImageGeometry, prepare_photo

DEMO_MODEL = Path(__file__).resolve().parents[2] / "assets" / "demo-clip"
LEAST_OVERLAP = 0.98  # issue 6, "Must show"
MOST_LOST = 0.005  # of recall; see above
NAMES = ("top-10 overlap", "recall@1", "recall@10", "least cosine", "median cosine")
PLACES = 10
FRACTIONS = (2, 4, 8)  # of a JPEG's size, to which its decoder can shrink it
JPEG_QUALITY = 85
CHUNK = 128

Vectors = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Step:
    """``load``: how the checkpoint is loaded, as arguments of ``FashionClipEncoder.load``.

    ``least_cosine``: of any photo's vector to the exact one.
    """

    name: str
    load: dict[str, Any]
    shrinks: bool
    least_cosine: float


EXACT = Step("exact", {"dtype": "float32"}, shrinks=False, least_cosine=1.0)
STEPS = (
    Step("shrink-on-load", {"dtype": "float32"}, shrinks=True, least_cosine=0.999),
    Step("bf16", {"dtype": "bfloat16"}, shrinks=False, least_cosine=0.995),
    Step("bf16 and shrink-on-load", {"dtype": "bfloat16"}, shrinks=True, least_cosine=0.995),
)
_BF16, _INT8 = ({"backend": "openvino", "dtype": dtype} for dtype in ("bfloat16", "int8"))
WITH_OPENVINO = (
    Step("OpenVINO bf16", _BF16, shrinks=False, least_cosine=0.995),
    Step("OpenVINO int8", _INT8, shrinks=False, least_cosine=0.995),
)


@dataclass(frozen=True)
class Photos:
    """Every drawing (n, S, S, 3), decoded whole and shrunk, and the sentence that says all about it."""

    whole: Pixels
    shrunk: Pixels
    sentences: list[str]


@dataclass(frozen=True)
class Answers:
    """``photos``: (n, d). ``best``: (prompts, 10) of them, best first. ``recall``: of sentences, by depth."""

    photos: Vectors
    best: NDArray[np.int64]
    recall: dict[int, float]


def measure(model: Path, each: int, seed: int) -> tuple[list[Figure], Any]:
    """The figures of all steps, and what they come from. Prints a table."""
    photos = drawn(ImageGeometry.of(model), each, seed)
    prompts = [*asked.kind_colour(seed, 1), *asked.kind_colour_pattern(seed, 1), *asked.seed_sentence()]
    texts = [prompt.text for prompt in prompts]
    log.print(f"{len(photos.whole)} drawings, {len(texts)} prompts and {len(photos.sentences)} sentences")
    exact = _answers(model, EXACT, photos, texts)
    table = Table("step", *NAMES)
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for step in STEPS if find_spec("openvino") is None else (*STEPS, *WITH_OPENVINO):
        found = _answers(model, step, photos, texts)
        cosines = (exact.photos * found.photos).sum(axis=1)
        shared, least = overlap(exact.best, found.best), float(cosines.min())
        values = shared, *found.recall.values(), least, float(np.median(cosines))
        table.add_row(step.name, *(f"{value:.4f}" for value in values))
        details[step.name] = dict(zip(NAMES, values, strict=True))
        figures += [
            Figure(f"{step.name}: top-10 overlap with exact answers", shared, least=LEAST_OVERLAP),
            *(
                Figure(f"{step.name}: recall@{k} lost", before - found.recall[k], most=MOST_LOST)
                for k, before in exact.recall.items()
            ),
            Figure(f"{step.name}: least cosine of a photo", least, least=step.least_cosine),
        ]
    table.add_row("(exact)", "1", *(f"{value:.4f}" for value in exact.recall.values()), "1", "1")
    log.print(table)
    return figures, details | {"exact recall": exact.recall}


def overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """The mean share of a row's entries that the same row of the other has, in any order."""
    shared = (one[:, :, None] == other[:, None, :]).any(axis=2)
    return float(shared.mean())


def drawn(geometry: ImageGeometry, each: int, seed: int) -> Photos:
    """``each`` drawings of every kind, colour and pattern, prepared in a process for each core."""
    wanted = [(*look, number) for look in product(KINDS, COLOURS, PATTERNS) for number in range(each)]
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(partial(_photo, geometry, seed), wanted, chunksize=32))
    whole, shrunk, sentences = zip(*found, strict=True)
    return Photos(np.stack(whole), np.stack(shrunk), list(sentences))


def _photo(
    geometry: ImageGeometry, seed: int, wanted: tuple[str, str, str, int]
) -> tuple[Pixels, Pixels, str]:
    rng = Random(f"lossy:{seed}:{wanted}")
    look: Look = random_look(rng, *wanted[:3])
    sizes_px = [geometry.least_decoded_px * fraction for fraction in FRACTIONS]
    width_px = rng.choice([size_px for size_px in sizes_px if size_px >= LEAST_PX])
    file = BytesIO()
    draw(look, rng, (width_px, width_px * 5 // 4)).save(file, "JPEG", quality=JPEG_QUALITY)
    whole, shrunk = (
        prepare_photo(file.getvalue(), replace(geometry, shrinks=shrinks)) for shrinks in (False, True)
    )
    return whole, shrunk, caption(rng, look, look.attributes()).text


def _answers(model: Path, step: Step, photos: Photos, prompts: Sequence[str]) -> Answers:
    encoder = FashionClipEncoder.load(model, **step.load)
    images = _in_chunks(encoder.encode_images, photos.shrunk if step.shrinks else photos.whole)
    best = top(_in_chunks(encoder.encode_texts, prompts) @ images.T, PLACES)
    sentences = _in_chunks(encoder.encode_texts, photos.sentences)
    ranks = own_ranks(sentences @ images.T)
    return Answers(images, best, {k: recall_at(ranks, k) for k in (1, PLACES)})


def _in_chunks(encode: Callable[[Any], Vectors], items: Any) -> Vectors:
    return np.concatenate([encode(items[start : start + CHUNK]) for start in range(0, len(items), CHUNK)])
