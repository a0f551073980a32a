"""One page of an answer out of a ranking: paging, grouping, near-duplicates, diversity.

The steps, in this order, each on the result of the one before; an answer's page never changes them:

1. the matching photos by falling score (6 decimals), among equals by rising id;
2. without those below the least score that is asked for;
3. grouping: one place per product, its best photo. A photo without a product is one of its own;
4. with ``diversity``, the pool: the beginning of the places, up to the 200th that is not folded. A place that
   looks the same as a better one of the pool is folded into it (``ranking.fold``), the others are put in the
   order of maximal marginal relevance (``ranking.diversify``). Behind the pool follow all further places as
   they are;
5. paging: ``offset`` and ``count`` are numbers of places;
6. variants: a place's next best photos of its product, from all that match, however far below they rank.
   They are never compared or folded, and those of a folded place go with it.

Two limits bound the work: no more than the best 10,000 photos are read, and a pool that is nearly all copies
ends after 2,000 places.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.recommendation_api import RecommendationRequest
from serve_app.ranking import diversify, fold
from serve_app.search import Scored, Search

POOL_PLACES = 200
POOL_WALKED = 2000
MAX_DEPTH = 10_000
GROWTH = 4


@dataclass(frozen=True, slots=True)
class Arranged:
    """One place of the answer. ``rank`` counts from 1, over all pages."""

    photo: Scored
    rank: int
    variants: tuple[Scored, ...] = ()
    near_duplicates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    photo: Scored
    near_duplicates: tuple[int, ...] = ()


@dataclass(slots=True)
class _Places:
    """The places after step 3, read as deep as is asked for."""

    search: Search
    grouped: bool
    min_score: float | None
    _found: list[Scored] = field(default_factory=list)
    _ended: bool = False

    async def first(self, count: int) -> list[Scored]:
        """The first ``count``; fewer where there are no more."""
        depth = count * GROWTH if self.grouped else count
        while len(self._found) < count and not self._ended:
            depth = min(depth, MAX_DEPTH)
            best = _above(await self.search.best(depth), self.min_score)
            self._found = _best_of_products(best) if self.grouped else best
            self._ended = len(best) < depth or depth == MAX_DEPTH
            depth *= GROWTH
        return self._found[:count]


async def arrange(
    search: Search,
    request: RecommendationRequest,
    count: int,
    min_score: float | None,
    near_duplicate_score: float,
) -> list[Arranged]:
    """The ``count`` places after ``request.offset``; fewer where there are no more."""
    grouped, first, last = request.group_by is not None, request.offset, request.offset + count
    ranking = _Places(search, grouped, min_score)
    if request.diversity is None:
        places = [_Place(one) for one in await ranking.first(last)]
    else:
        places = await _diversified(ranking, last, request.diversity, near_duplicate_score)
    page = places[first:last]
    further = request.group_size - 1 if grouped else 0
    variants = await _variants(search, [place.photo for place in page], further, min_score)
    return [
        Arranged(place.photo, rank, tuple(others), place.near_duplicates)
        for rank, (place, others) in enumerate(zip(page, variants, strict=True), start=first + 1)
    ]


async def _diversified(
    ranking: _Places, last: int, diversity: float, near_duplicate_score: float
) -> list[_Place]:
    """The pool and, where ``last`` lies beyond it, the places behind it."""
    span = POOL_PLACES + POOL_PLACES // GROWTH
    while True:
        span = min(span, POOL_WALKED)
        head = (await ranking.first(max(span, last)))[:span]
        if not head:
            return []
        vectors = await ranking.search.vectors([one.row for one in head])
        folding = await asyncio.to_thread(fold, vectors, near_duplicate_score, POOL_PLACES)
        if len(folding.kept) == POOL_PLACES or len(head) < span or span == POOL_WALKED:
            break
        span *= GROWTH
    scores = np.array([head[place].score for place in folding.kept])
    order = await asyncio.to_thread(diversify, scores, folding.cosines, diversity)
    pool = [
        _Place(head[folding.kept[one]], tuple(head[copy].row.image_id for copy in folding.copies[one]))
        for one in order
    ]
    behind = await ranking.first(folding.walked + max(0, last - len(pool)))
    return pool + [_Place(one) for one in behind[folding.walked :]]


async def _variants(
    search: Search, photos: Sequence[Scored], further: int, min_score: float | None
) -> list[list[Scored]]:
    """For each photo the next best of its product, at most ``further``."""
    products = {product for one in photos if (product := one.row.product_id) is not None}
    others: dict[str | None, list[Scored]] = defaultdict(list)
    if further and products:
        shown = {one.row.image_id for one in photos}
        for one in _above(await search.of_products(products), min_score):
            if one.row.image_id not in shown:
                others[one.row.product_id].append(one)
    return [others[one.row.product_id][:further] for one in photos]


def _above(found: Sequence[Scored], min_score: float | None) -> list[Scored]:
    return [one for one in found if min_score is None or one.score >= min_score]


def _best_of_products(ranked: Sequence[Scored]) -> list[Scored]:
    """The first photo of each product; a photo without a product_id is one of its own."""
    firsts: dict[str | int, Scored] = {}
    for one in ranked:
        firsts.setdefault(one.row.product_id or one.row.image_id, one)
    return list(firsts.values())
