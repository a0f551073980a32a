"""/api/image-collection/ID/similar/: what is most like a photo of the shop."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from models.recommendation_api import SimilarOptions, SimilarPhotos
from serve_app.routes.dependencies import PresenterDep, ServicesDep, ShopperDep
from serve_app.similar import similar

router = APIRouter(prefix="/api/image-collection", tags=["recommendations"])


@router.get("/{image_id}/similar/", responses={409: {}})
async def read_similar(
    image_id: Annotated[int, Path(ge=1, le=2**31 - 1)],
    options: Annotated[SimilarOptions, Query()],
    services: ServicesDep,
    caller: ShopperDep,
    presenter: PresenterDep,
) -> SimilarPhotos:
    """Ask for the shop's photos that are most like one of them, best first.

    The photo itself is left out; with `group_by=product_id` its whole product is.
    """
    found = await similar(services, caller, image_id, options)
    return SimilarPhotos(
        model=services.model.label,
        fallback_model=services.model.fell_back,
        recommendations=[presenter.recommendation(place) for place in found.places],
        took_ms=round(found.took_ms, 2),
    )
