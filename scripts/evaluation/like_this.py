"""A photo with words ("like this, but in red"), and words with others to leave out.

The weights of ``serve_app.compose_query`` were chosen on drawings of other seeds than those measured here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random

import numpy as np

from scripts.evaluation.gallery import Gallery, embedded, every_combination
from scripts.evaluation.metrics import precision_at
from scripts.evaluation.prompts import Prompt, relevance
from scripts.garments.catalogue import CATEGORIES
from scripts.garments.picture import Look
from scripts.garments.vocabulary import COLOURS, KINDS, PATTERN_ADJECTIVES, PATTERNS
from serve_app.compose_query import combined
from serve_app.encoder import FashionClipEncoder
from serve_app.garment_words import NAMES, Garments, names_a_garment
from serve_app.photos import ImageGeometry, prepare_photo

CATALOGUE = Path(__file__).resolve().parents[2] / "assets" / "catalogue"
WORDINGS = (
    "{}", "in {}", "but in {}", "like this, but in {}", "the same in {}", "this one in {}, please",
    "do you have it in {}?", "make it {}",
)  # fmt: skip
EACH = 2  # photos of every kind, colour and pattern: 12 of a kind in a colour
TOP = 5
RED, ANY, PATTERN, SHOP, WITHOUT = (
    "like this, but in red: same kind and red in the top 5",
    "like this, but in another colour: same kind in it in the top 5",
    "like this, but striped (etc.): same kind with it in the top 5",
    "like this, but in red, among the catalogue's dresses",
    "a kind without a colour: the kind, not in it, in the top 5",
)
TARGETS = {RED: 0.80, ANY: 0.80, SHOP: 0.80, WITHOUT: 0.90}


@dataclass(frozen=True)
class Changes:
    """Photos (n, d), and what each is asked for with: ``wanted`` says the kind, too, which is to stay."""

    photos: np.ndarray
    prompts: list[Prompt]


def figures(
    encoder: FashionClipEncoder, logit_scale: float, geometry: ImageGeometry, seed: int, gallery: Gallery
) -> dict[str, float]:
    """``gallery``: at least ``EACH`` drawings of every kind, colour and pattern, in that order."""
    garments = Garments(encoder.encode_texts(list(NAMES)), logit_scale)
    asked = embedded(encoder, geometry, every_combination(seed + 1, 1))
    thin, shop = _thinned(gallery), _catalogue(encoder, geometry)
    rng = Random(f"like this:{seed}")
    dresses = [place for place, look in enumerate(shop.looks) if look.kind == "dress"]
    return {
        RED: precision(encoder, garments, colours(rng, asked, ("red",)), thin),
        ANY: precision(encoder, garments, colours(rng, asked, COLOURS), thin),
        PATTERN: precision(encoder, garments, patterns(rng, asked), thin),
        SHOP: precision(encoder, garments, colours(rng, _part(shop, dresses), ("red",)), shop),
        WITHOUT: _precision_without(encoder, garments, thin),
    }


def colours(rng: Random, asked: Gallery, targets: Sequence[str]) -> Changes:
    """Every photo, in one of the colours that it does not have."""
    prompts, places = [], []
    for place, look in enumerate(asked.looks):
        others = [colour for colour in targets if colour != look.colour]
        if others:
            colour = rng.choice(others)
            text = rng.choice(WORDINGS).format(colour)
            prompts.append(Prompt(text, {"kind": look.kind, "colour": colour}))
            places.append(place)
    return Changes(asked.vectors[places], prompts)


def patterns(rng: Random, asked: Gallery) -> Changes:
    """Every photo, with a pattern that it does not have."""
    prompts = []
    for look in asked.looks:
        pattern = rng.choice([one for one in PATTERNS if one != look.pattern])
        text = f"but {rng.choice(PATTERN_ADJECTIVES[pattern])}"
        prompts.append(Prompt(text, {"kind": look.kind, "pattern": pattern}))
    return Changes(asked.vectors, prompts)


def precision(encoder: FashionClipEncoder, garments: Garments, changes: Changes, gallery: Gallery) -> float:
    """Share of the first five that are of the photo's kind and have what the words ask for."""
    texts = [prompt.text for prompt in changes.prompts]
    queries = [
        combined([(1.0, photo)], [(1.0, word)], None, garments, named=names_a_garment(text))
        for photo, word, text in zip(changes.photos, encoder.encode_texts(texts), texts, strict=True)
    ]
    scores = np.stack(queries) @ gallery.vectors.T
    return float(precision_at(scores, relevance(changes.prompts, gallery.looks), TOP).mean())


def _precision_without(encoder: FashionClipEncoder, garments: Garments, gallery: Gallery) -> float:
    kinds, unwanted = encoder.encode_texts(list(KINDS)), encoder.encode_texts(list(COLOURS))
    queries = [
        combined([], [(1.0, kind)], colour, garments, named=True) for kind in kinds for colour in unwanted
    ]
    pairs = list(product(KINDS, COLOURS))
    of_kind = relevance([Prompt("", {"kind": kind}) for kind, _ in pairs], gallery.looks)
    in_colour = relevance([Prompt("", {"colour": colour}) for _, colour in pairs], gallery.looks)
    scores = np.stack(queries) @ gallery.vectors.T
    return float(precision_at(scores, of_kind & ~in_colour, TOP).mean())


def _part(gallery: Gallery, places: Sequence[int]) -> Gallery:
    return Gallery([gallery.looks[place] for place in places], gallery.vectors[list(places)])


def _thinned(gallery: Gallery) -> Gallery:
    each = len(gallery.looks) // (len(KINDS) * len(COLOURS) * len(PATTERNS))
    return _part(gallery, [place for place in range(len(gallery.looks)) if place % each < EACH])


def _catalogue(encoder: FashionClipEncoder, geometry: ImageGeometry) -> Gallery:
    """The demo shop's 240 photos; dresses are its only kind with five red ones."""
    with (CATALOGUE / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {category: kind for kind, category in reversed(CATEGORIES.items())}
    looks = []
    for row in rows:
        attributes = json.loads(row["attributes"])
        looks.append(Look(kinds[row["category"]], attributes["colour"], attributes["pattern"]))
    files = [(CATALOGUE / "photos" / row["photo"]).read_bytes() for row in rows]
    return Gallery(looks, encoder.encode_images(np.stack([prepare_photo(file, geometry) for file in files])))
