"""What an answer must be, computed the slow and obvious way from all vectors of a shop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Known:
    """A photo that matches the filters."""

    image_id: int
    product_id: str | None
    vector: NDArray[np.floating]


@dataclass(frozen=True)
class Rules:
    """The service's constants."""

    near_duplicate_score: float = 0.98
    pool_places: int = 200
    pool_walked: int = 2000
    depth: int = 10_000


@dataclass
class Place:
    """One place of the answer; photos by their ids."""

    photo: Known
    score: float
    variants: list[int] = field(default_factory=list)
    near_duplicates: list[int] = field(default_factory=list)


def cosine(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    return round(float(np.dot(np.asarray(one, np.float64), np.asarray(other, np.float64))), 6)


def all_places(
    query: NDArray[np.floating],
    photos: Sequence[Known],
    *,
    min_score: float | None = None,
    group_size: int | None = None,
    diversity: float | None = None,
    rules: Rules | None = None,
) -> list[Place]:
    """The whole answer, of which a page is a slice. ``group_size``: None where it is not grouped."""
    rules = rules or Rules()
    scored = [Place(photo, cosine(query, photo.vector)) for photo in photos]
    scored = sorted(scored, key=lambda place: (-place.score, place.photo.image_id))
    scored = [place for place in scored if min_score is None or place.score >= min_score]
    places = scored[: rules.depth]
    if group_size is not None:
        places = one_of_each_product(places)
        for place in places:
            place.variants = further_photos(place, scored)[: group_size - 1]
    if diversity is not None:
        pool, rest = without_near_duplicates(places, rules)
        places = by_marginal_relevance(pool, diversity) + rest
    return places


def one_of_each_product(places: list[Place]) -> list[Place]:
    best: list[Place] = []
    for place in places:
        product = place.photo.product_id
        if product is None or product not in [one.photo.product_id for one in best]:
            best.append(place)
    return best


def further_photos(place: Place, scored: list[Place]) -> list[int]:
    if place.photo.product_id is None:
        return []
    same = [one.photo for one in scored if one.photo.product_id == place.photo.product_id]
    return [photo.image_id for photo in same if photo is not place.photo]


def without_near_duplicates(places: list[Place], rules: Rules) -> tuple[list[Place], list[Place]]:
    """The pool without what was folded, and the places behind it."""
    pool: list[Place] = []
    for number, place in enumerate(places):
        if len(pool) == rules.pool_places or number == rules.pool_walked:
            return pool, places[number:]
        for kept in pool:
            if cosine(kept.photo.vector, place.photo.vector) >= rules.near_duplicate_score:
                kept.near_duplicates.append(place.photo.image_id)
                break
        else:
            pool.append(place)
    return pool, []


def by_marginal_relevance(pool: list[Place], diversity: float) -> list[Place]:
    vectors = np.array([place.photo.vector for place in pool], np.float64)
    alike = np.round(vectors @ vectors.T, 6).tolist()
    chosen: list[int] = []
    left = list(range(len(pool)))
    while left:
        gains = []
        for place in left:
            nearest = max((alike[place][one] for one in chosen), default=0.0)
            gains.append(round((1 - diversity) * pool[place].score - diversity * nearest, 9))
        chosen.append(left.pop(gains.index(max(gains))))
    return [pool[place] for place in chosen]
