"""How well the score floors of three sorts of shops part nonsense from prompts that the shop can answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from scripts.evaluation.gallery import Gallery
from scripts.evaluation.off_topic import PLAIN, WITH_A_COLOUR
from scripts.garments.catalogue import items
from scripts.garments.held_out import held_out_prompt
from scripts.garments.picture import Look
from scripts.garments.vocabulary import KINDS
from serve_app.encoder import FashionClipEncoder
from serve_app.off_topic import PROMPTS
from serve_app.photos import ImageGeometry, prepare_photo
from serve_app.score_floor import MAX_NAMES, floor_between

PHOTOS = Path(__file__).resolve().parents[2] / "assets" / "catalogue" / "photos"
CATALOGUE_SEED = 0
SMALL_SHOP = 30
ROUNDS = 3
CHUNK = 256
NONSENSE = "nonsense is no match"
COLOURED = "nonsense with a colour word is no match"
ANSWERED = "garment prompts are answered"
SORTS = ("demo catalogue", "all drawings", f"shops of {SMALL_SHOP} of one kind")
TARGETS = {f"{ANSWERED}, {sort}": 0.98 for sort in SORTS} | {f"{NONSENSE}, {sort}": 0.95 for sort in SORTS}
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Shop:
    """Photos as a Gallery, and their names."""

    photos: Gallery
    names: list[str]


def figures(
    encoder: FashionClipEncoder, geometry: ImageGeometry, seed: int, drawings: Gallery
) -> dict[str, float]:
    """Shares of prompts, of each sort of shop; the mean of several shops."""
    sorts = ([demo_catalogue(encoder, geometry)], [named(drawings)], list(one_kind_each(seed, drawings)))
    off_topic, plain, coloured = (embed(encoder, texts) for texts in (PROMPTS, PLAIN, WITH_A_COLOUR))
    found: dict[str, float] = {}
    for sort, shops in zip(SORTS, sorts, strict=True):
        shares = []
        for shop in shops:
            floor = floor_of(encoder, shop, off_topic, seed)
            asked = embed(encoder, prompts_for(seed, shop.photos.looks))
            below = [share_below(floor, shop, vectors) for vectors in (plain, coloured, asked)]
            shares.append((below[0], below[1], 1 - below[2]))
        names = (f"{name}, {sort}" for name in (NONSENSE, COLOURED, ANSWERED))
        found |= dict(zip(names, np.mean(shares, axis=0).tolist(), strict=True))
    return found


def demo_catalogue(encoder: FashionClipEncoder, geometry: ImageGeometry) -> Shop:
    """The photos that `make demo` uploads."""
    rows = list(items(CATALOGUE_SEED))
    pixels = [prepare_photo((PHOTOS / f"{row.sku}.jpg").read_bytes(), geometry) for row in rows]
    vectors = encoder.encode_images(np.stack(pixels))
    return Shop(Gallery([row.look for row in rows], vectors), [row.product.name(row.colour) for row in rows])


def named(photos: Gallery) -> Shop:
    """A shop with these photos, named as a shop would."""
    return Shop(photos, [f"{look.pattern} {look.kind}, {look.colour}" for look in photos.looks])


def one_kind_each(seed: int, drawings: Gallery) -> Iterator[Shop]:
    """A small shop for each kind of garment."""
    for kind in KINDS:
        own = [place for place, look in enumerate(drawings.looks) if look.kind == kind]
        chosen = Random(f"shop:{seed}:{kind}").sample(own, SMALL_SHOP)
        yield named(Gallery([drawings.looks[place] for place in chosen], drawings.vectors[chosen]))


def prompts_for(seed: int, looks: Sequence[Look]) -> list[str]:
    """Held-out prompts for every kind and colour, and every kind, colour and pattern, that the shop holds."""
    rng = Random(f"no match:{seed}")
    pairs = sorted({(look.kind, look.colour) for look in looks})
    triples = sorted({(look.kind, look.colour, look.pattern) for look in looks})
    return [held_out_prompt(rng, *one) for one in (pairs + triples) * ROUNDS]


def floor_of(encoder: FashionClipEncoder, shop: Shop, off_topic: Vectors, seed: int) -> float:
    """As the Indexer computes it."""
    names = Random(f"names:{seed}").sample(shop.names, min(MAX_NAMES, len(shop.names)))
    own = embed(encoder, names)
    floor = floor_between(best(shop, off_topic), best(shop, own))
    if floor is None:
        raise AssertionError("no floor parts this shop's own names from nonsense")
    return floor


def share_below(floor: float, shop: Shop, asked: Vectors) -> float:
    """Of the prompts, those that no photo answers."""
    return float((best(shop, asked) < floor).mean())


def best(shop: Shop, asked: Vectors) -> NDArray[np.float64]:
    """(n,) scores of the nearest photos."""
    scores: NDArray[np.float64] = (asked @ shop.photos.vectors.T).max(axis=1).astype(np.float64)
    return scores


def embed(encoder: FashionClipEncoder, texts: Sequence[str]) -> Vectors:
    """(n, d) float32."""
    parts = [encoder.encode_texts(list(texts[at : at + CHUNK])) for at in range(0, len(texts), CHUNK)]
    return np.concatenate(parts)
