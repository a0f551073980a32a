"""What clients send and receive about photos: the seed's field names, plus what this service adds."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from models.texts import texts_in

MAX_ATTRIBUTES_BYTES = 16_384
MAX_ATTRIBUTES_DEPTH = 32


def _empty_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _parsed_json(value: Any) -> Any:
    """Form fields carry ``attributes`` as JSON text."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return {}
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError("must be a JSON object") from error


Text250 = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=250)]
OptionalText250 = Annotated[Text250 | None, BeforeValidator(_empty_is_none)]
Reference = Annotated[Annotated[int, Field(ge=1, le=2**31 - 1)] | None, BeforeValidator(_empty_is_none)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=5000)]
Attributes = Annotated[dict[str, Any], BeforeValidator(_parsed_json)]
ProductUrl = Annotated[
    Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://")] | None,
    BeforeValidator(_empty_is_none),
]


class ImageMetadata(BaseModel):
    """What an upload and a PATCH have in common. Categories, styles and age groups are ids of their lists."""

    model_config = ConfigDict(extra="forbid")

    description: Description = ""
    Category: Reference = None
    Styles: Reference = None
    AgeGroup: Reference = None
    product_id: OptionalText250 = None
    attributes: Attributes = Field(default_factory=dict)
    product_url: ProductUrl = None
    auto_tag: bool = Field(
        default=False, description="Fill in Category, Styles and AgeGroup where they are left out."
    )

    @model_validator(mode="after")
    def _storable(self) -> Self:
        check_storable(self)
        return self


class ImageFields(ImageMetadata):
    """The metadata of an upload."""

    name: Text250
    sku: OptionalText250 = None


class ImageChanges(ImageMetadata):
    """A PATCH: what is absent stays as it is; null clears, where a photo can be without it."""

    name: Text250 = ""
    sku: Text250 = ""


def check_storable(fields: BaseModel) -> None:
    """PostgreSQL stores no NUL and no lone surrogate; an attribute set has a size limit."""
    for name, value in fields.model_dump().items():
        text = _attributes_text(value) if name == "attributes" else value
        if not isinstance(text, str):
            continue
        if "\x00" in text or (name == "attributes" and "\\u0000" in text and _holds_nul(value)):
            raise ValueError(f"{name} contains a NUL character; remove it")
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise ValueError(f"{name} is not valid Unicode text (a lone surrogate); remove it") from None
        if name == "attributes" and size > MAX_ATTRIBUTES_BYTES:
            raise ValueError(f"attributes take {size} bytes as JSON; the limit is {MAX_ATTRIBUTES_BYTES}")


def _holds_nul(value: Any) -> bool:
    """As opposed to the six characters that JSON writes for one."""
    return any("\x00" in text for text in texts_in(value))


def _attributes_text(value: dict[str, Any]) -> str:
    if _is_deeper(value, MAX_ATTRIBUTES_DEPTH):
        raise ValueError(f"attributes are nested deeper than {MAX_ATTRIBUTES_DEPTH} levels; flatten them")
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise ValueError("attributes hold a number that is not finite (NaN or Infinity); remove it") from None


def _is_deeper(value: Any, levels: int) -> bool:
    """What is deeper than some 250 levels is stored but cannot be written out in an answer."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


class ImagePublic(BaseModel):
    """A photo as the API shows it."""

    ImageID: int
    sku: str
    product_id: str | None
    name: str
    description: str
    Category: int | None
    category_name: str | None
    Styles: int | None
    style_name: str | None
    AgeGroup: int | None
    age_group_name: str | None
    attributes: dict[str, Any]
    product_url: str | None
    Photo: str = Field(description="Signed address of the photo; it expires.")


class SuggestedTerm(BaseModel):
    """The mark of a term that the model filled in."""

    confidence: float = Field(description="In [0, 1].")


class BetterCategory(BaseModel):
    """What a photo looks like."""

    id: int
    name: str
    confidence: float


class NearDuplicate(BaseModel):
    """The photo looks the same as another one, of another product."""

    code: Literal["near_duplicate"]
    detail: str
    ImageID: int
    sku: str
    score: float = Field(description="Cosine similarity of the two photos.")


class CategoryContradicted(BaseModel):
    """The photo does not look like the category that the shop stated."""

    code: Literal["category_contradicted"]
    detail: str
    Category: int
    confidence: float = Field(description="Of the stated category.")
    suggested: BetterCategory


PhotoWarning = Annotated[NearDuplicate | CategoryContradicted, Field(discriminator="code")]


class ImageDetail(ImagePublic):
    """A photo with its index state, for its shop."""

    Processor_embedded: bool
    status: str
    error: str | None
    photo_sha256: str
    photo_bytes: int
    photo_width_px: int
    photo_height_px: int
    created_at: datetime
    updated_at: datetime
    embedded_at: datetime | None
    auto_tag: bool
    suggestions: dict[str, SuggestedTerm] = Field(
        description="Of Category, Styles and AgeGroup those that the model filled in."
    )
    warnings: list[PhotoWarning] = Field(description="What looks wrong; nothing is refused for it.")


class ImagePage(BaseModel):
    """One page, newest first; ``next`` is the address of the following one."""

    results: list[ImageDetail]
    next: str | None
