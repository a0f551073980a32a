"""A prompt in, the shop's best photos out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from uuid import UUID, uuid4

from db import images, prompts
from db.images import ImageRow
from models.errors import InvalidInput
from models.prompt import Prompt
from models.recommendation_api import DEFAULT_RECOMMENDATIONS
from serve_app.callers import Caller
from serve_app.ports import Vector
from serve_app.services import Services

SPARE = 8
GROWTH = 4
MAX_CANDIDATES = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """``rows`` with their cosine similarity, best first."""

    prompt_id: UUID
    rows: list[tuple[ImageRow, float]]
    prompt_truncated: bool
    took_ms: float


async def recommend(services: Services, caller: Caller, prompt: str, wanted: int | None) -> Answer:
    """At most ``wanted`` photos of the caller's shop. Raises InvalidInput, and what the ports raise."""
    count = _permitted(caller, wanted)
    started = time.perf_counter()
    embedding = await services.text_embedder.embed(prompt)
    rows = await nearest(services, caller.shop_id, embedding.vector, count)
    answer = Answer(uuid4(), rows, embedding.truncated, (time.perf_counter() - started) * 1000)
    await _log(services, caller, prompt, count, answer)
    return answer


def _permitted(caller: Caller, wanted: int | None) -> int:
    cap = caller.max_images
    if wanted is None:
        return DEFAULT_RECOMMENDATIONS if cap is None else min(DEFAULT_RECOMMENDATIONS, cap)
    if cap is not None and wanted > cap:
        raise InvalidInput(
            f"number_of_images is {wanted}; this publishable key allows at most {cap}. Ask for fewer, or "
            f"raise max_images of key {caller.key_id}."
        ).at("/number_of_images")
    return wanted


async def nearest(
    services: Services, shop_id: int, vector: Vector, count: int
) -> list[tuple[ImageRow, float]]:
    """The shop's photos nearest to ``vector``, best first.

    PostgreSQL has the last word on what exists: the index may still hold photos that were deleted or
    replaced a moment ago, so it is asked for spare ones, and for more while too few of them remain.
    """
    wanted = count + SPARE
    while True:
        hits = await services.index.query(shop_id, vector, wanted)
        query = partial(images.embedded_rows, shop_id=shop_id, ids=[hit.image_id for hit in hits])
        found = await services.database.read(query)
        kept = [(found[hit.image_id], hit.score) for hit in hits if hit.image_id in found]
        if len(kept) >= count or len(hits) < wanted or wanted >= MAX_CANDIDATES:
            return kept[:count]
        wanted = min(wanted * GROWTH, MAX_CANDIDATES)


async def _log(services: Services, caller: Caller, prompt: str, count: int, answer: Answer) -> None:
    row = Prompt(
        id=answer.prompt_id,
        shop_id=caller.shop_id,
        api_key_id=caller.key_id,
        prompt=prompt,
        number_recommended=count,
        result_ids=[row.image_id for row, _ in answer.rows],
        scores=[score for _, score in answer.rows],
        model_key=services.model.key,
        duration_ms=answer.took_ms,
    )
    await services.database.run(lambda session: prompts.record(session, row))
