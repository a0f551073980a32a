"""/api/recommendations/: words and photos answered with photos."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from models.recommendation_api import MAX_QUERIES, RecommendationRequest, Recommendations
from models.recommendation_examples import RECOMMENDATION_EXAMPLES
from serve_app.recommend import recommend
from serve_app.routes.bodies import body_fields, form_or_json, parsed_texts, photo_content, validated
from serve_app.routes.dependencies import PresenterDep, PrompterDep, ServicesDep

router = APIRouter(prefix="/api/recommendations", tags=["recommendations"])

JSON_TEXTS = ("queries", "filters", "facets")


def _request_body() -> dict[str, Any]:
    extra = form_or_json(RecommendationRequest)
    content = extra["requestBody"]["content"]
    content["application/json"]["examples"] = RECOMMENDATION_EXAMPLES
    content["multipart/form-data"]["encoding"] = {
        name: {"contentType": "application/json"} for name in JSON_TEXTS
    }
    return extra


@router.post("/", responses={404: {}, 409: {}, 413: {}, 415: {}}, openapi_extra=_request_body())
async def create(
    request: Request, services: ServicesDep, caller: PrompterDep, presenter: PresenterDep
) -> Recommendations:
    """Ask for the shop's photos that match words, photos or both, best first.

    Say what to look for by `prompt`, `Photo`, `image_id` or `queries`, less `negative_prompt`; narrow it
    down by `filters` and `min_score`; arrange it by `offset`, `group_by` and `diversity`. `no_match` is
    true when nothing in the catalogue answers the prompt.
    """
    answer = await recommend(services, caller, await _parsed(request))
    return Recommendations(
        prompt_id=answer.prompt_id,
        model=services.model.label,
        fallback_model=services.model.fell_back,
        prompt_truncated=answer.prompt_truncated,
        no_match=answer.no_match,
        recommendations=[presenter.recommendation(place) for place in answer.places],
        facets=answer.facets,
        took_ms=round(answer.took_ms, 2),
    )


async def _parsed(request: Request) -> RecommendationRequest:
    fields = await _with_photo(parsed_texts(await body_fields(request), JSON_TEXTS), "")
    queries = fields.get("queries")
    if isinstance(queries, list) and len(queries) <= MAX_QUERIES:
        fields["queries"] = [await _with_photo(one, f"/queries/{at}") for at, one in enumerate(queries)]
    return validated(RecommendationRequest, fields, with_photo=True)


async def _with_photo(fields: Any, pointer: str) -> Any:
    """The same, with the bytes of its photo in place of a file or base64 text."""
    if not isinstance(fields, dict) or fields.get("Photo") is None:
        return fields
    return fields | {"Photo": await photo_content(fields["Photo"], f"{pointer}/Photo")}
