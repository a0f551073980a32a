"""What clients send and receive about shops: sign-up and activation."""

from __future__ import annotations

from typing import Annotated, Self

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from models.image_api import Text250, check_storable
from models.key_api import Origins


def normalised_email(address: str) -> str:
    """Lower-cased, its domain in ASCII. Raises ValueError where no mail can be sent to it."""
    try:
        found = validate_email(address, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        raise ValueError(f"This is not an e-mail address that mail can be sent to. {error}") from None
    return (found.ascii_email or found.normalized).lower()


Email = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=320), AfterValidator(normalised_email)
]


class ShopRequest(BaseModel):
    """Closed, and free of what PostgreSQL does not store."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _storable(self) -> Self:
        check_storable(self)
        return self


class SignUpRequest(ShopRequest):
    name: Text250
    email: Email


class ResendRequest(ShopRequest):
    email: Email


class ActivationRequest(ShopRequest):
    token: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        description="What follows the # in the mail's link."
    )
    allowed_origins: Origins = Field(
        default_factory=list, description="Of the web pages that may use the publishable key."
    )


class SignUpAnswer(BaseModel):
    """The same for every address, so that it tells nobody who has a shop here."""

    message: str = (
        "If this address can have a shop here, a mail with a link is on its way to it. The link works once, "
        "for a limited time. No mail within a few minutes? Look into the spam folder, then ask again: "
        "POST /api/shops/resend/."
    )


class ShopPublic(BaseModel):
    id: int
    name: str
    email: str


class ActivationAnswer(BaseModel):
    """The only time that the keys are shown."""

    shop: ShopPublic
    secret_key: str
    publishable_key: str
