"""One page of an answer out of a ranking: paging, grouping, diversity."""

from __future__ import annotations

from dataclasses import dataclass

from models.recommendation_api import RecommendationRequest
from serve_app.search import Scored, Search


@dataclass(frozen=True, slots=True)
class Arranged:
    """One place of the answer. ``rank`` counts from 1, over all pages."""

    photo: Scored
    rank: int
    variants: tuple[Scored, ...] = ()
    near_duplicates: tuple[int, ...] = ()


async def arrange(
    search: Search, request: RecommendationRequest, count: int, min_score: float | None
) -> list[Arranged]:
    """The ``count`` places after ``request.offset``; fewer where no more photos score ``min_score``."""
    best = await search.best(request.offset + count)
    kept = [one for one in best if min_score is None or one.score >= min_score]
    first = request.offset
    return [Arranged(one, rank) for rank, one in enumerate(kept[first:], start=first + 1)]
