"""What shops send and receive about their API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from models.image_api import check_storable
from models.moments import in_utc
from models.origins import normalised_origin
from models.recommendation_api import MAX_RECOMMENDATIONS
from models.shop import KeyScope

MAX_ORIGINS = 50
MAX_LIFE_DAYS = 3650
MAX_OVERLAP_H = 24 * 90

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Origin = Annotated[str, AfterValidator(normalised_origin)]


def _without_repetition(origins: list[str]) -> list[str]:
    return list(dict.fromkeys(origins))


Origins = Annotated[list[Origin], Field(max_length=MAX_ORIGINS), AfterValidator(_without_repetition)]
MaxImages = Annotated[int, Field(ge=1, le=MAX_RECOMMENDATIONS)]


class KeyStatus(StrEnum):
    """Only an active key is accepted."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class _Expiry(BaseModel):
    """When a new key ends: as a point in time, in days from now, or never."""

    model_config = ConfigDict(extra="forbid")

    expires_at: Annotated[AwareDatetime, AfterValidator(in_utc)] | None = None
    expires_in_days: Annotated[float, Field(gt=0, le=MAX_LIFE_DAYS)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.expires_at is None:
            return self
        if self.expires_in_days is not None:
            raise ValueError("give expires_at or expires_in_days, not both")
        now = datetime.now(UTC)
        if not now < self.expires_at <= now + timedelta(days=MAX_LIFE_DAYS):
            raise ValueError(f"expires_at must be in the future, at most {MAX_LIFE_DAYS} days from now")
        return self

    def end(self, now: datetime) -> datetime | None:
        """When the key expires; None is never."""
        if self.expires_in_days is not None:
            return now + timedelta(days=self.expires_in_days)
        return self.expires_at


class KeyFields(_Expiry):
    """A new key. Origins and cap are for publishable keys only."""

    name: Name
    scope: KeyScope
    allowed_origins: Origins = Field(default_factory=list)
    max_images: MaxImages | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_storable(self)
        if self.scope is KeyScope.SECRET and (self.allowed_origins or self.max_images is not None):
            raise ValueError(
                "allowed_origins and max_images are for publishable keys; browsers cannot use secret ones"
            )
        return self


class KeyChanges(BaseModel):
    """A PATCH: what is absent stays as it is; null for max_images is the service's cap."""

    model_config = ConfigDict(extra="forbid")

    name: Name = ""
    allowed_origins: Origins = Field(default_factory=list)
    max_images: MaxImages | None = None

    @model_validator(mode="after")
    def _storable(self) -> Self:
        check_storable(self)
        return self


class KeyRotation(_Expiry):
    """How long the old key still works, and when the new one ends."""

    overlap_hours: Annotated[float, Field(ge=0, le=MAX_OVERLAP_H)] | None = None


class KeyPublic(BaseModel):
    """A key as its shop sees it; never its secret."""

    id: int
    name: str
    scope: KeyScope
    prefix: str = Field(description="How the key begins, to recognise it by.")
    state: KeyStatus
    current: bool = Field(description="True for the key that this request was made with.")
    allowed_origins: list[str]
    max_images: int | None = Field(description="Largest number_of_images; null for secret keys.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    replaced_by: int | None = Field(description="Id of the key that a rotation made of it.")


class KeyCreated(KeyPublic):
    """The only answer that ever holds the key itself."""

    key: str


class KeyList(BaseModel):
    """All keys of the shop, newest first."""

    results: list[KeyPublic]
