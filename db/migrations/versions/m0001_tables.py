"""Create all tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_taxonomies()
    create_shops()
    create_images()
    index_images()
    create_index()
    create_prompts()


def downgrade() -> None:
    for table in ("prompt", "index_version", "embedding", "image", "api_key", "shop"):
        op.drop_table(table)
    for table in ("age_group", "style", "category"):
        op.drop_table(table)


def create_taxonomies() -> None:
    for table in ("category", "style", "age_group"):
        op.create_table(
            table,
            sa.Column("name", sa.String(250), nullable=False),
            sa.Column("description", sa.String(1000), nullable=False),
            identity(),
            sa.UniqueConstraint("name"),
        )


def create_shops() -> None:
    op.create_table(
        "shop",
        identity(),
        sa.Column("name", sa.String(250), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        moment("created_at"),
        sa.UniqueConstraint("email"),
    )
    op.create_table(
        "api_key",
        identity(),
        reference("shop_id", "shop", "CASCADE", nullable=False),
        sa.Column("public_id", sa.String(32), nullable=False),
        sa.Column("secret_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        moment("created_at"),
        moment("expires_at", nullable=True),
        moment("revoked_at", nullable=True),
        moment("last_used_at", nullable=True),
        sa.UniqueConstraint("public_id"),
    )
    op.create_index("ix_api_key_shop_id", "api_key", ["shop_id"])


def create_images() -> None:
    op.create_table(
        "image",
        identity(),
        reference("shop_id", "shop", "CASCADE", nullable=False),
        sa.Column("sku", sa.String(250), nullable=False),
        sa.Column("product_id", sa.String(250)),
        sa.Column("name", sa.String(250), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        reference("category_id", "category", "SET NULL"),
        reference("style_id", "style", "SET NULL"),
        reference("age_group_id", "age_group", "SET NULL"),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("product_url", sa.String(2000)),
        sa.Column("photo_key", sa.String(250), nullable=False),
        sa.Column("photo_sha256", sa.String(64), nullable=False),
        sa.Column("photo_bytes", sa.Integer(), nullable=False),
        sa.Column("photo_width_px", sa.Integer(), nullable=False),
        sa.Column("photo_height_px", sa.Integer(), nullable=False),
        sa.Column("photo_type", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(32)),
        moment("lease_until", nullable=True),
        sa.Column("error", sa.String(1000)),
        moment("created_at"),
        moment("updated_at"),
        moment("embedded_at", nullable=True),
    )


def index_images() -> None:
    partial: list[tuple[str, list[str], bool, str]] = [
        ("uq_image_shop_sku", ["shop_id", "sku"], True, "status <> 'deleting'"),
        ("ix_image_work", ["shop_id", "id"], False, "status IN ('pending', 'processing')"),
        ("ix_image_out_of_index", ["status", "id"], False, "status IN ('deleting', 'failed')"),
    ]
    for name, columns, unique, condition in partial:
        op.create_index(name, "image", columns, unique=unique, postgresql_where=sa.text(condition))
    op.create_index("ix_image_shop_id_id", "image", ["shop_id", "id"])


def create_index() -> None:
    op.create_table(
        "embedding",
        reference("image_id", "image", "CASCADE", nullable=False),
        sa.Column("model_key", sa.String(250), nullable=False),
        sa.Column("photo_sha256", sa.String(64), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        moment("created_at"),
        sa.PrimaryKeyConstraint("image_id", "model_key"),
    )
    op.create_index("ix_embedding_sha256", "embedding", ["photo_sha256", "model_key"])
    op.create_table(
        "index_version",
        identity(),
        sa.Column("model_key", sa.String(250), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        moment("created_at"),
    )
    live = sa.text("state = 'live'")
    op.create_index("uq_index_version_live", "index_version", ["state"], unique=True, postgresql_where=live)


def create_prompts() -> None:
    op.create_table(
        "prompt",
        sa.Column("id", sa.Uuid(), primary_key=True),
        reference("shop_id", "shop", "CASCADE", nullable=False),
        reference("api_key_id", "api_key", "SET NULL"),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("number_recommended", sa.Integer(), nullable=False),
        sa.Column("filters", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("result_ids", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("scores", postgresql.ARRAY(sa.Float()), nullable=False),
        sa.Column("model_key", sa.String(250), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        moment("created_at"),
    )
    op.create_index("ix_prompt_shop_created", "prompt", ["shop_id", "created_at"])


def identity() -> sa.Column[Any]:
    return sa.Column("id", sa.Integer(), primary_key=True)


def reference(name: str, table: str, on_delete: str, *, nullable: bool = True) -> sa.Column[Any]:
    key = sa.ForeignKey(f"{table}.id", ondelete=on_delete)
    return sa.Column(name, sa.Integer(), key, nullable=nullable)


def moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    default = None if nullable else sa.func.now()
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)
