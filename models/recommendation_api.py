"""The recommendation request and its answer."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from models.image_api import ImagePublic

MAX_PROMPT_CHARACTERS = 1000
MAX_RECOMMENDATIONS = 100
DEFAULT_RECOMMENDATIONS = 5


class RecommendationRequest(BaseModel):
    """A shopper's wish in words."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"api_key": "sk_…", "prompt": "A red dress with floral patterns", "number_of_images": 5}
            ]
        },
    )

    api_key: str | None = Field(default=None, description="Instead of an Authorization or X-API-Key header.")
    prompt: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PROMPT_CHARACTERS)
    ]
    number_of_images: Annotated[int, Field(ge=1, le=MAX_RECOMMENDATIONS)] = DEFAULT_RECOMMENDATIONS

    @property
    def wanted(self) -> int | None:
        """How many photos; None where the client leaves it to the service."""
        return self.number_of_images if "number_of_images" in self.model_fields_set else None

    @field_validator("prompt")
    @classmethod
    def _storable(cls, prompt: str) -> str:
        if "\x00" in prompt:
            raise ValueError("the prompt contains a NUL character; remove it")
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise ValueError("the prompt is not valid Unicode text (a lone surrogate)") from None
        return prompt


class Recommendation(ImagePublic):
    """A photo that answers a prompt."""

    score: float = Field(description="Cosine similarity of prompt and photo, in [-1, 1].")
    rank: int = Field(description="1 is the best.")


class Recommendations(BaseModel):
    """The answer, best first."""

    prompt_id: UUID
    model: str
    fallback_model: bool = Field(description="True while the bundled demo model stands in for FashionCLIP.")
    prompt_truncated: bool = Field(description="True when the model read only the beginning of the prompt.")
    recommendations: list[Recommendation]
    took_ms: float
