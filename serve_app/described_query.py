"""A request as the log keeps it: what was looked for and how, never a photo's bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.recommendation_api import RecommendationRequest

_ELSEWHERE = {"prompt", "Photo", "queries", "filters", "number_of_images"}


def described(request: RecommendationRequest, sha256: Mapping[str, str]) -> dict[str, Any]:
    """What the client sent beside prompt, filters and number, as JSON.

    ``sha256``: of the photos, by the pointers of their fields; ``photo_sha256`` stands for each of them.
    """
    given = request.model_dump(mode="json", exclude=_ELSEWHERE, exclude_unset=True, exclude_none=True)
    if request.Photo is not None:
        given["photo_sha256"] = sha256["/Photo"]
    if request.queries is not None:
        given["queries"] = [
            part.model_dump(exclude={"Photo"}, exclude_none=True)
            | ({"photo_sha256": sha256[f"/queries/{place}/Photo"]} if part.Photo is not None else {})
            for place, part in enumerate(request.queries)
        ]
    return given
