"""Measure a checkpoint, with the code that serves, on drawings and sentences that training never saw."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from rich.console import Console
from rich.table import Table

from scripts.evaluation import diversity, like_this, near_duplicates, no_match, themes, zero_shot
from scripts.evaluation import prompts as asked
from scripts.evaluation.gallery import Gallery, at_random, embedded, every_combination, geometry_of
from scripts.evaluation.metrics import mean_reciprocal_rank, own_ranks, precision_at, recall_at
from scripts.garments.captions import caption
from serve_app.checkpoints import Preprocessing
from serve_app.encoder import FashionClipEncoder
from serve_app.served_model import logit_scale

DEMO_MODEL = Path(__file__).resolve().parent.parent / "assets" / "demo-clip"
TARGETS = {
    "precision@5 kind+colour": 0.90,
    "precision@5 kind+colour+pattern": 0.80,
    **near_duplicates.TARGETS,
    **diversity.TARGETS,
    **no_match.TARGETS,
    **like_this.TARGETS,
    **themes.TARGETS,
    **zero_shot.TARGETS,
}
CHUNK = 256
console = Console()


@dataclass(frozen=True)
class Scale:
    """How much is drawn and asked."""

    seed: int = 0
    each: int = 8
    rounds: int = 2
    own: int = 1000


def precisions(encoder: FashionClipEncoder, gallery: Gallery, family: list[asked.Prompt]) -> list[float]:
    """precision@5 of every prompt of a family."""
    values: list[float] = []
    for start in range(0, len(family), CHUNK):
        part = family[start : start + CHUNK]
        scores = encoder.encode_texts([prompt.text for prompt in part]) @ gallery.vectors.T
        values += precision_at(scores, asked.relevance(part, gallery.looks), 5).tolist()
    return values


def own_caption_figures(encoder: FashionClipEncoder, gallery: Gallery, seed: int) -> dict[str, float]:
    """How often a caption that says all finds its own drawing among all drawings."""
    rng = Random(f"own captions:{seed}")
    texts = [caption(rng, look, look.attributes()).text for look in gallery.looks]
    vectors = np.concatenate(
        [encoder.encode_texts(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
    )
    ranks = own_ranks(vectors @ gallery.vectors.T)
    recalls = {f"recall@{k}": recall_at(ranks, k) for k in (1, 5, 10)}
    return recalls | {"MRR@10": mean_reciprocal_rank(ranks, 10)}


def by_attribute(family: list[asked.Prompt], values: list[float], name: str) -> dict[str, float]:
    """Mean precision for each value of an attribute, worst first."""
    groups: dict[str, list[float]] = {}
    for prompt, value in zip(family, values, strict=True):
        groups.setdefault(prompt.wanted[name], []).append(value)
    means = {key: float(np.mean(group)) for key, group in groups.items()}
    return dict(sorted(means.items(), key=lambda pair: pair[1]))


def evaluate(model: Path, dtype: str, scale: Scale) -> dict[str, object]:
    """All figures of the checkpoint in `model`."""
    encoder = FashionClipEncoder.load(model, dtype=dtype)
    geometry = geometry_of(Preprocessing.of(model))
    gallery = embedded(encoder, geometry, every_combination(scale.seed, scale.each))
    pairs = asked.kind_colour(scale.seed, scale.rounds)
    triples = asked.kind_colour_pattern(scale.seed, scale.rounds)
    of_triples = precisions(encoder, gallery, triples)
    figures = {
        "precision@5 kind+colour": float(np.mean(precisions(encoder, gallery, pairs))),
        "precision@5 kind+colour+pattern": float(np.mean(of_triples)),
        "precision@5 seed sentence": float(np.mean(precisions(encoder, gallery, asked.seed_sentence()))),
    }
    own = embedded(encoder, geometry, at_random(scale.seed, scale.own))
    figures |= own_caption_figures(encoder, own, scale.seed)
    figures |= near_duplicates.figures(encoder, geometry, scale.seed, own, gallery)
    figures |= diversity.figures(encoder, gallery, pairs)
    figures |= no_match.figures(encoder, geometry, scale.seed, gallery)
    figures |= like_this.figures(encoder, logit_scale(model), geometry, scale.seed, gallery)
    catalogue = no_match.demo_catalogue(encoder, geometry).photos
    figures |= zero_shot.figures(encoder, logit_scale(model), scale.seed, own, catalogue)
    figures |= themes.figures(encoder, scale.seed)
    return {
        "model": str(model),
        "dtype": encoder.dtype,
        "gallery": len(gallery.looks),
        "matching_per_triple": scale.each,
        "own_gallery": scale.own,
        "figures": figures,
        "triples_by_kind": by_attribute(triples, of_triples, "kind"),
        "triples_by_pattern": by_attribute(triples, of_triples, "pattern"),
        "triples_by_colour": by_attribute(triples, of_triples, "colour"),
    }


def missed(figures: dict[str, float]) -> list[str]:
    """The targets that `figures` stay under."""
    return [name for name, target in TARGETS.items() if figures[name] < target]


def show(result: dict[str, object], seconds: float) -> None:
    """The figures as a table."""
    table = Table(
        title=f"{result['model']} in {result['dtype']}, {result['gallery']} drawings, {seconds:.0f} s"
    )
    for column in ("figure", "value", "target"):
        table.add_column(column)
    figures = result["figures"]
    assert isinstance(figures, dict)
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}", f"≥ {TARGETS[name]:.2f}" if name in TARGETS else "")
    console.print(table)


def main() -> int:
    """Command line; answers the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.evaluate", description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=DEMO_MODEL, help="checkpoint folder (default: the bundled one)"
    )
    parser.add_argument("--dtype", default="auto", help="auto (as served), float32, bfloat16, float16")
    parser.add_argument("--seed", type=int, default=0, help="of the drawings and the prompts")
    parser.add_argument("--each", type=int, default=8, help="drawings of every kind, colour and pattern")
    parser.add_argument("--rounds", type=int, default=2, help="prompts for every combination")
    parser.add_argument("--json", action="store_true", help="print JSON, with more detail")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    args = parser.parse_args()
    started = time.monotonic()
    result = evaluate(args.model, args.dtype, Scale(args.seed, args.each, args.rounds))
    if args.json:
        console.print_json(json.dumps(result))
    else:
        show(result, time.monotonic() - started)
    figures = result["figures"]
    assert isinstance(figures, dict)
    failed = missed(figures)
    if args.check and failed:
        console.print(f"below target: {', '.join(failed)}", style="red")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
