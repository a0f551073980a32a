"""What a request looks for, as one vector."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import InvalidInput
from models.recommendation_api import RecommendationRequest
from serve_app.ports import Vector
from serve_app.services import Services


@dataclass(frozen=True, slots=True)
class ComposedQuery:
    """``vector``: (d,) float32, unit length. ``only_words``: no photo takes part: the floor applies."""

    vector: Vector
    truncated: bool
    only_words: bool


async def compose(services: Services, request: RecommendationRequest) -> ComposedQuery:
    """Raises InvalidInput, and what the ports raise."""
    if request.prompt is None:
        raise InvalidInput("Give a prompt.").at("/prompt")
    embedding = await services.text_embedder.embed(request.prompt)
    return ComposedQuery(embedding.vector, embedding.truncated, only_words=True)
