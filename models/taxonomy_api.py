"""What clients send and receive about the vocabularies."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from models.image_api import Text250, check_storable

TermDescription = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]


class TermFields(BaseModel):
    """A new term."""

    model_config = ConfigDict(extra="forbid")

    name: Text250
    description: TermDescription = ""

    @model_validator(mode="after")
    def _storable(self) -> Self:
        check_storable(self)
        return self


class TermChanges(TermFields):
    """A PATCH: what is absent stays as it is."""

    name: Text250 = ""


class TermPublic(BaseModel):
    """A term as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    description: str


class TermDeleted(BaseModel):
    """What the deletion of a term did."""

    photos_changed: int = Field(description="Photos, of all shops, whose field is null now.")
