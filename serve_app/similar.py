"""The photos most like one of the shop's own: "similar items" on a product's page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from db import matching
from models.recommendation_api import RecommendationRequest, SimilarOptions
from serve_app.add_image import get_image
from serve_app.arrange import Arranged, arrange
from serve_app.callers import Caller
from serve_app.compose_query import compose
from serve_app.recommend import permitted_count
from serve_app.search import EVERYTHING, Search
from serve_app.services import Services


@dataclass(frozen=True, slots=True)
class SimilarItems:
    """``places``: best first."""

    places: list[Arranged]
    took_ms: float


async def similar(services: Services, caller: Caller, image_id: int, options: SimilarOptions) -> SimilarItems:
    """What is most like one photo; itself is left out and, where products are grouped, its whole product.

    Raises NotFound, Conflict (not embedded yet), InvalidInput, and what the ports raise.
    """
    request = RecommendationRequest(image_id=image_id, **options.model_dump(exclude_unset=True))
    count = permitted_count(caller, request.wanted)
    started = time.perf_counter()
    query = await compose(services, caller.shop_id, request)
    without = query.image_ids
    if options.group_by is not None:
        without |= await _of_its_product(services, caller.shop_id, image_id)
    search = Search(services, caller.shop_id, query.vector, without=without)
    places = await arrange(search, request, count, request.min_score, services.search.near_duplicate_score)
    return SimilarItems(places, (time.perf_counter() - started) * 1000)


async def _of_its_product(services: Services, shop_id: int, image_id: int) -> frozenset[int]:
    product_id = (await get_image(services, shop_id, image_id)).image.product_id
    if product_id is None:
        return frozenset()
    query = partial(matching.rows_of_products, shop_id=shop_id, matching=EVERYTHING, product_ids=[product_id])
    return frozenset(row.image_id for row in await services.database.read(query))
