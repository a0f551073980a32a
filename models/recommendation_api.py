"""The recommendation request and its answer."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from models.filter_api import Closed, Filters, Id
from models.image_api import ImagePublic
from models.texts import storable_text

MAX_PROMPT_CHARACTERS = 1000
MAX_RECOMMENDATIONS = 100
DEFAULT_RECOMMENDATIONS = 5
MAX_OFFSET = 1000
MAX_QUERIES = 8
MAX_PHOTOS = 4
MAX_FACETS = 20

FACET = r"^(Category|Styles|AgeGroup|attributes\.[\s\S]{1,250})$"

PromptText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PROMPT_CHARACTERS)
]
Score = Annotated[float, Field(ge=-1.0, le=1.0, allow_inf_nan=False)]


def _facet(name: str) -> str:
    if re.fullmatch(FACET, name):
        return name
    raise ValueError("must be Category, Styles, AgeGroup or attributes.NAME, NAME having 1 to 250 characters")


def _photo(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    raise ValueError("must be a file of the form, or base64 text in JSON")


def _number_of_form(value: Any) -> Any:
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value) else value


FacetName = Annotated[
    str,
    AfterValidator(_facet),
    AfterValidator(storable_text),
    WithJsonSchema({"type": "string", "pattern": FACET}),
]
PhotoContent = Annotated[
    bytes,
    PlainValidator(_photo),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
FormId = Annotated[Id, BeforeValidator(_number_of_form)]


class QueryPart(Closed):
    """One of several things to look for, with its share."""

    prompt: PromptText | None = None
    Photo: PhotoContent | None = Field(default=None, description="A photo as base64 text.")
    image_id: Id | None = Field(default=None, description="A photo of the shop, by its ImageID.")
    weight: float = Field(
        default=1.0, gt=0, le=100, description="Its share, in relation to that of the others."
    )

    @property
    def kind(self) -> str | None:
        """The name of the field that is given."""
        given = ("prompt", "Photo", "image_id")
        return next((name for name in given if getattr(self, name) is not None), None)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(one is not None for one in (self.prompt, self.Photo, self.image_id)) != 1:
            raise ValueError("give exactly one of prompt, Photo and image_id")
        return self

    @field_validator("prompt")
    @classmethod
    def _storable(cls, prompt: str | None) -> str | None:
        return prompt if prompt is None else storable_text(prompt)


class Arrangement(Closed):
    """Which part of a ranking is answered, and how it is arranged."""

    number_of_images: Annotated[int, Field(ge=1, le=MAX_RECOMMENDATIONS)] = Field(
        default=DEFAULT_RECOMMENDATIONS,
        description="Photos, or products with group_by. Publishable keys have a lower limit.",
    )
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = Field(
        default=0, description="How many of the best to skip."
    )
    min_score: Score | None = Field(
        default=None, description="Leave out what scores below, in place of the shop's own floor."
    )
    group_by: Literal["product_id"] | None = Field(default=None, description="One answer per product.")
    group_size: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1, description="With group_by: photos per product, the best and its variants."
    )
    diversity: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None,
        description="0: by score alone; 1: as unlike each other as can be. Given at all, it folds "
        "near-duplicates.",
    )

    @property
    def wanted(self) -> int | None:
        """How many photos; None where the client leaves it to the service."""
        return self.number_of_images if "number_of_images" in self.model_fields_set else None


class RecommendationRequest(Arrangement):
    """What a shopper looks for: words, a photo, a photo of the shop, or several; and how to answer."""

    prompt: PromptText | None = Field(
        default=None, description="Words to look for; with a photo, what is to be different."
    )
    Photo: PhotoContent | None = Field(
        default=None, description="A photo to look for: a file of the form, or base64 text in JSON."
    )
    image_id: FormId | None = Field(
        default=None, description="A photo of the shop to look for, by its ImageID."
    )
    queries: Annotated[list[QueryPart], Field(min_length=1, max_length=MAX_QUERIES)] | None = Field(
        default=None, description="Several things to look for at once, instead of prompt, Photo and image_id."
    )
    negative_prompt: PromptText | None = Field(default=None, description="What the photos should not show.")
    filters: Filters | None = Field(
        default=None, description="Which photos may answer; all that is given must hold."
    )
    facets: Annotated[list[FacetName], Field(min_length=1, max_length=MAX_FACETS)] | None = Field(
        default=None, description="Count matching photos by Category, Styles, AgeGroup or attributes.NAME."
    )

    @property
    def words(self) -> str | None:
        """The prompt, be it sent as such or as the only one of several things."""
        alone = self.queries[0] if self.queries is not None and len(self.queries) == 1 else self
        return alone.prompt

    def parts(self) -> dict[str, QueryPart]:
        """What to look for, by the pointers of the fields that say it; each part is of one kind."""
        if self.queries is not None:
            return {f"/queries/{place}/{part.kind}": part for place, part in enumerate(self.queries)}
        alone = (
            QueryPart.model_construct(prompt=self.prompt),
            QueryPart.model_construct(Photo=self.Photo),
            QueryPart.model_construct(image_id=self.image_id),
        )
        return {f"/{part.kind}": part for part in alone if part.kind is not None}

    def photos(self) -> dict[str, bytes]:
        """The photos that came with the request, by their pointers."""
        return {at: part.Photo for at, part in self.parts().items() if part.Photo is not None}

    @field_validator("queries")
    @classmethod
    def _few_photos(cls, queries: list[QueryPart] | None) -> list[QueryPart] | None:
        if sum(part.Photo is not None for part in queries or ()) > MAX_PHOTOS:
            raise ValueError(f"at most {MAX_PHOTOS} photos may be sent; name the shop's own by image_id")
        return queries

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _storable(cls, prompt: str | None) -> str | None:
        return prompt if prompt is None else storable_text(prompt)

    @model_validator(mode="after")
    def _something_to_look_for(self) -> Self:
        alone = any(one is not None for one in (self.prompt, self.Photo, self.image_id))
        if alone and self.queries is not None:
            raise ValueError("give either queries or prompt, Photo and image_id, not both")
        if not alone and self.queries is None:
            raise ValueError("say what to look for: prompt, Photo, image_id or queries")
        return self


class SimilarOptions(Arrangement):
    """The query of a request for what is like one photo."""


class Variant(ImagePublic):
    """Another photo of the same product."""

    score: float = Field(description="Cosine similarity of query and photo, in [-1, 1].")


class Recommendation(ImagePublic):
    """A photo that answers the query."""

    score: float = Field(description="Cosine similarity of query and photo, in [-1, 1].")
    rank: int = Field(description="1 is the best of all pages.")
    variants: list[Variant] = Field(
        default_factory=list, description="With group_by: the product's next best photos, best first."
    )
    near_duplicates: list[int] = Field(
        default_factory=list, description="With diversity: ImageIDs of photos that look the same, left out."
    )


class FacetCount(BaseModel):
    """How many matching photos have one value."""

    id: int | None = Field(default=None, description="Of the category, style or age group.")
    value: str | bool | int | float | None = Field(description="Null: photos without it.")
    count: int


class Recommendations(BaseModel):
    """The answer, best first."""

    prompt_id: UUID
    model: str
    fallback_model: bool = Field(description="True while the bundled demo model stands in for FashionCLIP.")
    prompt_truncated: bool = Field(description="True when the model read only the beginning of the prompt.")
    no_match: bool = Field(description="True when nothing in the catalogue answers the prompt.")
    recommendations: list[Recommendation]
    facets: dict[str, list[FacetCount]] | None = Field(
        default=None, description="By facet, the most frequent values first; null where none was asked for."
    )
    took_ms: float


class SimilarPhotos(BaseModel):
    """What is most like one photo of the shop, best first."""

    model: str
    fallback_model: bool = Field(description="True while the bundled demo model stands in for FashionCLIP.")
    recommendations: list[Recommendation]
    took_ms: float
