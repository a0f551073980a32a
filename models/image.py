"""A shop's product photo, its index state and its embedding."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict

from sqlalchemy import Column, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, text_enum, timestamp


class ImageStatus(StrEnum):
    """pending → processing → embedded | failed; deleting from anywhere."""

    PENDING = "pending"
    PROCESSING = "processing"
    EMBEDDED = "embedded"
    FAILED = "failed"
    DELETING = "deleting"


# The terms' columns, by the fields in which clients send them.
TERM_COLUMNS = {"Category": "category_id", "Styles": "style_id", "AgeGroup": "age_group_id"}


class Image(SQLModel, table=True):
    """One photo (the seed's ImageCollection).

    The lease (``lease_token``, ``lease_until``) is held by at most one Ray task at a time; whoever finds
    its token gone discards its result. ``metadata_revision`` counts changes of what the search index knows of
    the photo beside its pixels (a trigger raises it with each change of a term, the name or the description);
    while ``indexed_revision`` differs, the index is behind. ``vector_revision`` counts the vectors that the
    index had of the photo: of one revision there is one vector. ``item_weight`` is the shop's text weight
    that this vector was made with; None while it is being written, when the index may hold either.
    """

    __table_args__ = (
        Index(
            "uq_image_shop_sku",
            "shop_id",
            "sku",
            unique=True,
            postgresql_where=text("status <> 'deleting'"),
        ),
        Index("ix_image_shop_id_id", "shop_id", "id"),
        Index(
            "ix_image_work",
            "shop_id",
            "id",
            postgresql_where=text("status IN ('pending', 'processing')"),
        ),
        Index(
            "ix_image_out_of_index",
            "status",
            "id",
            postgresql_where=text("status IN ('deleting', 'failed')"),
        ),
        Index(
            "ix_image_metadata_work",
            "shop_id",
            "id",
            postgresql_where=text("status = 'embedded' AND metadata_revision <> indexed_revision"),
        ),
        Index("ix_image_item_weight", "shop_id", "item_weight", postgresql_where=text("status = 'embedded'")),
        Index(
            "ix_image_matching",
            "shop_id",
            "id",
            postgresql_include=["vector_revision", "category_id", "style_id", "age_group_id", "created_at"],
            postgresql_where=text("status = 'embedded'"),
        ),
        Index(
            "ix_image_attributes",
            "attributes",
            postgresql_using="gin",
            postgresql_ops={"attributes": "jsonb_path_ops"},
        ),
        Index(
            "ix_image_import",
            "import_job_id",
            postgresql_where=text("import_job_id IS NOT NULL AND status IN ('pending', 'processing')"),
        ),
        Index("ix_image_warnings", "shop_id", "id", postgresql_where=text("warnings <> '[]'::jsonb")),
        Index("ix_image_product", "shop_id", "product_id", postgresql_where=text("product_id IS NOT NULL")),
        *(
            Index(f"ix_image_{column}", column, postgresql_where=text(f"{column} IS NOT NULL"))
            for column in ("category_id", "style_id", "age_group_id")
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE")
    sku: str = Field(max_length=250)
    product_id: str | None = Field(default=None, max_length=250)
    name: str = Field(max_length=250)
    description: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=""))
    category_id: int | None = Field(default=None, foreign_key="category.id", ondelete="SET NULL")
    style_id: int | None = Field(default=None, foreign_key="style.id", ondelete="SET NULL")
    age_group_id: int | None = Field(default=None, foreign_key="age_group.id", ondelete="SET NULL")
    attributes: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    product_url: str | None = Field(default=None, max_length=2000)

    photo_key: str = Field(max_length=250)
    photo_sha256: str = Field(max_length=64)
    photo_bytes: int
    photo_width_px: int
    photo_height_px: int
    photo_type: str = Field(max_length=32)
    source_url: str | None = Field(
        default=None, sa_column=Column(Text), description="Where an import fetched the photo."
    )
    source_etag: str | None = Field(
        default=None, sa_column=Column(Text), description="Of the photo there, as fetched."
    )
    import_job_id: int | None = Field(
        default=None, description="The import that last changed the photo; no foreign key: jobs may go."
    )

    status: ImageStatus = Field(default=ImageStatus.PENDING, sa_column=text_enum(ImageStatus))
    attempts: int = Field(default=0)
    metadata_revision: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    indexed_revision: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    vector_revision: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    item_weight: float | None = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    auto_tag: bool = Field(
        default=False,
        sa_column_kwargs={"server_default": "false"},
        description="Fill the terms that the shop left out.",
    )
    suggestions: dict[str, Any] = Field(
        default_factory=dict,
        sa_column=Column(JSONB, nullable=False, server_default="{}"),
        description="Terms that the model filled in: its confidence in [0, 1], by field; null: decided.",
    )
    warnings: list[dict[str, Any]] = Field(
        default_factory=list,
        sa_column=Column(JSONB, nullable=False, server_default="[]"),
        description="What looks wrong in the catalogue; nothing was refused for it.",
    )
    lease_token: str | None = Field(default=None, max_length=32)
    lease_until: datetime | None = Field(default=None, sa_column=timestamp())
    error: str | None = Field(default=None, max_length=1000)
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    updated_at: datetime | None = Field(default=None, sa_column=created_at_column())
    embedded_at: datetime | None = Field(default=None, sa_column=timestamp())


class PhotoColumns(TypedDict):
    """What of an Image describes its photo's file."""

    photo_sha256: str
    photo_bytes: int
    photo_width_px: int
    photo_height_px: int
    photo_type: str


class Embedding(SQLModel, table=True):
    """The vectors of one photo under one model: the truth that Chroma caches.

    The index holds ``item_vector``, or ``vector`` where that is None (the shop's text weight is 0). All are
    float32 little-endian of unit length.
    """

    __table_args__ = (Index("ix_embedding_sha256", "photo_sha256", "model_key"),)

    image_id: int = Field(foreign_key="image.id", ondelete="CASCADE", primary_key=True)
    model_key: str = Field(max_length=250, primary_key=True)
    photo_sha256: str = Field(max_length=64)
    vector: bytes = Field(sa_column=Column(LargeBinary, nullable=False), description="Of the pixels.")
    text_vector: bytes | None = Field(default=None, description="Of name and description.")
    text_sha256: str | None = Field(
        default=None, max_length=64, description="Of the text behind text_vector."
    )
    item_vector: bytes | None = Field(default=None, description="Photo and text, as the shop weights them.")
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())


class IndexState(StrEnum):
    BUILDING = "building"
    LIVE = "live"
    RETIRED = "retired"


class IndexVersion(SQLModel, table=True):
    """One generation of the search index; all its vectors come from one model.

    ``source`` and ``revision`` are the checkpoint's (a hub name or a directory), so that the service loads
    the model of the live version; None: the configuration's, of before migration 0005.
    """

    __tablename__ = "index_version"
    __table_args__ = (
        Index("uq_index_version_live", "state", unique=True, postgresql_where=text("state = 'live'")),
        Index("uq_index_version_building", "state", unique=True, postgresql_where=text("state = 'building'")),
    )

    id: int | None = Field(default=None, primary_key=True)
    model_key: str = Field(max_length=250)
    dimension: int
    state: IndexState = Field(sa_column=text_enum(IndexState))
    source: str | None = Field(default=None, sa_column=Column(Text))
    revision: str | None = Field(default=None, max_length=250)
    live_at: datetime | None = Field(default=None, sa_column=timestamp())
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
