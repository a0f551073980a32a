"""Zero-shot tags: which names fit a photo."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from models.filter_api import Closed, Id
from models.texts import storable_text

MIN_LABELS = 2
MAX_LABELS = 100


def _parsed_json(value: Any) -> Any:
    """Form fields carry lists as JSON text, and numbers as text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError("must be JSON") from error


Confidence = Annotated[float, AfterValidator(lambda value: round(value, 4))]
LabelText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=250)]


class TagRequest(Closed):
    """What to compare a photo with; its pixels are ``Photo``, a file of the form or base64 text."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"image_id": 1, "labels": ["a floral dress", "a plain dress"]}]},
    )

    image_id: Annotated[Id | None, BeforeValidator(_parsed_json)] = Field(
        default=None, description="A photo of the shop, by its ImageID, instead of Photo."
    )
    labels: Annotated[
        Annotated[list[LabelText], Field(min_length=MIN_LABELS, max_length=MAX_LABELS)] | None,
        BeforeValidator(_parsed_json),
    ] = Field(
        default=None,
        description="Own names to choose from, instead of categories, styles and age groups; in a form as "
        "JSON text.",
    )
    top: Annotated[
        Annotated[int, Field(ge=1, le=MAX_LABELS, strict=True)] | None, BeforeValidator(_parsed_json)
    ] = Field(default=None, description="How many of each list; default: all.")

    @field_validator("labels")
    @classmethod
    def _each_once(cls, labels: list[str] | None) -> list[str] | None:
        for label in labels or ():
            storable_text(label)
        if labels is not None and len({label.casefold() for label in labels}) < len(labels):
            raise ValueError("a label is there twice; send each once")
        return labels


class TagScore(BaseModel):
    """A term of a vocabulary."""

    id: int
    name: str
    confidence: Confidence = Field(description="In [0, 1]; over the whole vocabulary they add up to 1.")


class LabelScore(BaseModel):
    """One of the request's own labels."""

    label: str
    confidence: Confidence = Field(description="In [0, 1]; over all labels they add up to 1.")


class Tags(BaseModel):
    """Most confident first. Either the three vocabularies or ``labels``; the other is null."""

    model: str
    fallback_model: bool = Field(description="True while the bundled demo model stands in for FashionCLIP.")
    Category: list[TagScore] | None = None
    Styles: list[TagScore] | None = None
    AgeGroup: list[TagScore] | None = None
    labels: list[LabelScore] | None = None
