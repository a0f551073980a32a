"""A query in, the shop's best photos out."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from db import facets
from models.errors import InvalidInput
from models.prompt import Prompt
from models.recommendation_api import DEFAULT_RECOMMENDATIONS, FacetCount, RecommendationRequest
from serve_app.arrange import Arranged, arrange
from serve_app.callers import Caller
from serve_app.compose_query import compose
from serve_app.described_query import described
from serve_app.measures import timed
from serve_app.search import EVERYTHING, Candidates, Search, candidates
from serve_app.services import Services


@dataclass(frozen=True, slots=True)
class Answer:
    """``places``: best first. ``no_match``: a prompt was asked, and no photo reaches the shop's floor."""

    prompt_id: UUID
    places: list[Arranged]
    facets: dict[str, list[FacetCount]] | None
    prompt_truncated: bool
    no_match: bool
    took_ms: float


async def recommend(services: Services, caller: Caller, request: RecommendationRequest) -> Answer:
    """One page of the photos of the caller's shop. Raises InvalidInput, and what the ports raise.

    To a prompt, a photo under the shop's floor is no answer. The request's own ``min_score`` takes its place,
    and then nothing is judged. Scores of a query that is composed of several things are not like those of a
    prompt (two garments at once lie far from every photo), so it is not judged either.
    """
    count = permitted_count(caller, request.wanted)
    started = time.perf_counter()
    query, found = await asyncio.gather(
        timed(services.stages.embed, compose(services, caller.shop_id, request)),
        candidates(services, caller.shop_id, request.filters),
    )
    search = Search(services, caller.shop_id, query.vector, candidates=found, without=query.image_ids)
    judged = query.one_prompt and request.min_score is None
    floor = caller.score_floors.get(services.model.key) if judged else request.min_score
    places, counts = await asyncio.gather(
        arrange(search, request, count, floor, services.search.near_duplicate_score),
        _facets(services, caller.shop_id, request.facets, found),
    )
    no_match = judged and not places and await _nothing_reaches(search, request, floor)
    took_s = time.perf_counter() - started
    services.stages.all.add(took_s)
    took_ms = took_s * 1000
    answer = Answer(uuid4(), places, counts, query.truncated, no_match, took_ms)
    asked = described(request, query.sha256)
    services.prompt_log.add(_logged(services, caller, request, count, answer, asked))
    return answer


async def _nothing_reaches(search: Search, request: RecommendationRequest, floor: float | None) -> bool:
    """Of an answer without places; a page behind the last one says nothing of the first."""
    if request.offset == 0:
        return True
    best = await search.best(1)
    return not best or (floor is not None and best[0].score < floor)


async def _facets(
    services: Services, shop_id: int, names: list[str] | None, found: Candidates | None
) -> dict[str, list[FacetCount]] | None:
    if names is None:
        return None
    matching = EVERYTHING if found is None else found.matching
    count = partial(facets.count, shop_id=shop_id, matching=matching, names=names)
    return await services.database.read(count)


def permitted_count(caller: Caller, wanted: int | None) -> int:
    """How many photos the key may be shown. Raises InvalidInput where it wants more."""
    cap = caller.max_images
    if wanted is None:
        return DEFAULT_RECOMMENDATIONS if cap is None else min(DEFAULT_RECOMMENDATIONS, cap)
    if cap is not None and wanted > cap:
        raise InvalidInput(
            f"number_of_images is {wanted}; this publishable key allows at most {cap}. Ask for fewer, or "
            f"raise max_images of key {caller.key_id}."
        ).at("/number_of_images")
    return wanted


def _logged(
    services: Services,
    caller: Caller,
    request: RecommendationRequest,
    count: int,
    answer: Answer,
    asked: dict[str, Any],
) -> Prompt:
    return Prompt(
        id=answer.prompt_id,
        shop_id=caller.shop_id,
        api_key_id=caller.key_id,
        prompt=request.words or "",
        query=asked,
        number_recommended=count,
        filters={}
        if request.filters is None
        else request.filters.model_dump(mode="json", by_alias=True, exclude_unset=True),
        result_ids=[place.photo.row.image_id for place in answer.places],
        scores=[place.photo.score for place in answer.places],
        no_match=answer.no_match,
        model_key=services.model.key,
        duration_ms=answer.took_ms,
        also_shown=_also_shown(answer.places),
        created_at=datetime.now(UTC),
    )


def _also_shown(places: list[Arranged]) -> dict[str, int]:
    """Photo ids as text, as keys of JSON are."""
    return {
        str(image_id): place.rank
        for place in places
        for image_id in (*(one.row.image_id for one in place.variants), *place.near_duplicates)
    }
