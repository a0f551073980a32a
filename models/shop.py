"""The tenant, its API keys and the one-time links that open them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Column, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, text_enum, timestamp


class ShopStatus(StrEnum):
    """pending → active ⇄ suspended; deleting from anywhere."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"


class Shop(SQLModel, table=True):
    """A clothing shop; everything else belongs to one. A limit of None is the configuration's."""

    __table_args__ = (Index("ix_shop_reindexing", "id", postgresql_where=text("reindexing")),)

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=250)
    email: str = Field(max_length=320, unique=True)
    status: ShopStatus = Field(default=ShopStatus.ACTIVE, sa_column=text_enum(ShopStatus))
    requests_per_minute: int | None = None
    prompts_per_day: int | None = None
    max_photos: int | None = None
    text_weight: float = Field(
        default=0.0,
        sa_column_kwargs={"server_default": "0"},
        description="Share of name and description in an item's vector, in [0, 1].",
    )
    reindexing: bool = Field(
        default=False,
        sa_column_kwargs={"server_default": "false"},
        description="Some of its photos may have the vector of a former text_weight.",
    )
    webhook_url: str | None = Field(default=None, sa_column=Column(Text))
    webhook_nonce: bytes | None = Field(
        default=None, description="The webhook's secret is derived from it and the server's."
    )
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    activated_at: datetime | None = Field(default=None, sa_column=timestamp())


class KeyScope(StrEnum):
    """``secret``: all of the shop's own data. ``publishable``: recommendations only, safe in a browser."""

    SECRET = "secret"
    PUBLISHABLE = "publishable"


class ApiKey(SQLModel, table=True):
    """A credential (the seed's List_API_Key). The secret itself is never stored.

    ``allowed_origins`` and ``max_images`` bind publishable keys only.
    """

    __tablename__ = "api_key"

    id: int | None = Field(default=None, primary_key=True)
    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE", index=True)
    public_id: str = Field(max_length=32, unique=True)
    secret_hmac: bytes = Field(description="HMAC-SHA256 of the whole key under the server's pepper, 32 bytes")
    scope: KeyScope = Field(default=KeyScope.SECRET, sa_column=text_enum(KeyScope))
    name: str = Field(default="", max_length=100)
    allowed_origins: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    max_images: int | None = Field(default=None, description="Largest number_of_images of one request.")
    requests_per_minute: int | None = None
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    expires_at: datetime | None = Field(default=None, sa_column=timestamp())
    revoked_at: datetime | None = Field(default=None, sa_column=timestamp())
    last_used_at: datetime | None = Field(default=None, sa_column=timestamp())
    replaced_by_id: int | None = Field(
        default=None,
        foreign_key="api_key.id",
        ondelete="SET NULL",
        index=True,
        description="Its successor by rotation.",
    )


class SignupLink(SQLModel, table=True):
    """A one-time link. Its token is derived from ``nonce`` and the server's secret; only a hash is stored."""

    __tablename__ = "signup_link"

    id: int | None = Field(default=None, primary_key=True)
    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE", index=True)
    nonce: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    token_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    expires_at: datetime | None = Field(default=None, sa_column=timestamp())
    used_at: datetime | None = Field(default=None, sa_column=timestamp())
    superseded_at: datetime | None = Field(default=None, sa_column=timestamp())
