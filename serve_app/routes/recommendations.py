"""/api/recommendations/: prompts answered with photos."""

from __future__ import annotations

from fastapi import APIRouter

from models.recommendation_api import RecommendationRequest, Recommendations
from serve_app.recommend import recommend
from serve_app.routes.dependencies import PresenterDep, PrompterDep, ServicesDep

router = APIRouter(prefix="/api/recommendations", tags=["recommendations"])


@router.post("/")
async def create(
    body: RecommendationRequest, services: ServicesDep, caller: PrompterDep, presenter: PresenterDep
) -> Recommendations:
    """The shop's photos that match the prompt, best first."""
    answer = await recommend(services, caller, body)
    return Recommendations(
        prompt_id=answer.prompt_id,
        model=services.model.label,
        fallback_model=services.model.fell_back,
        prompt_truncated=answer.prompt_truncated,
        no_match=answer.no_match,
        recommendations=[presenter.recommendation(place) for place in answer.places],
        took_ms=round(answer.took_ms, 2),
    )
