"""What staff's clients send and receive."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class LoginRequest(BaseModel):
    """An e-mail address and its password."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    email: str = Field(min_length=1, max_length=320)
    password: str = Field(min_length=1, max_length=1000)


class LoginAnswer(BaseModel):
    """A session. Its token is shown only here."""

    token: str
    expires_at: datetime


class StaffPublic(BaseModel):
    """A member of staff."""

    id: int
    email: str
    last_login_at: datetime | None
    created_at: datetime
