"""The tenant and its API keys."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlmodel import Field, SQLModel

from models.columns import created_at_column, text_enum, timestamp


class ShopStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class Shop(SQLModel, table=True):
    """A clothing shop; everything else belongs to one."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=250)
    email: str = Field(max_length=320, unique=True)
    status: ShopStatus = Field(default=ShopStatus.ACTIVE, sa_column=text_enum(ShopStatus))
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())


class ApiKey(SQLModel, table=True):
    """A credential (the seed's List_API_Key). The secret itself is never stored."""

    __tablename__ = "api_key"

    id: int | None = Field(default=None, primary_key=True)
    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE", index=True)
    public_id: str = Field(max_length=32, unique=True)
    secret_hmac: bytes = Field(description="HMAC-SHA256 of the whole key under the server's pepper, 32 bytes")
    scope: str = Field(default="secret", max_length=16)
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    expires_at: datetime | None = Field(default=None, sa_column=timestamp())
    revoked_at: datetime | None = Field(default=None, sa_column=timestamp())
    last_used_at: datetime | None = Field(default=None, sa_column=timestamp())
