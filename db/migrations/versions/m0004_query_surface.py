"""Item vectors, suggestions, warnings, score floors, events, and more of each logged prompt."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NEW_COLUMNS = {
    "shop": ("text_weight", "reindexing"),
    "image": ("vector_revision", "item_weight", "auto_tag", "suggestions", "warnings"),
    "embedding": ("text_vector", "text_sha256", "item_vector"),
    "prompt": ("query", "no_match", "normalised", "also_shown"),
}
IN_THE_INDEX_BEFORE = ("category_id", "style_id", "age_group_id")
# Catalogues that do not change any more get their floor too.
FLOORS_OF_BEFORE = """
    INSERT INTO score_floor (shop_id, model_key, revision, computed_revision)
    SELECT DISTINCT shop_id, model_key, 1, 0
      FROM image, index_version WHERE status = 'embedded' AND state = 'live'
"""
# Their vector in the index is mixed with their text's, which the release before knows nothing of.
WITH_TEXT = """
    UPDATE image SET status = 'pending', attempts = 0, lease_token = NULL, lease_until = NULL
     WHERE status = 'embedded' AND item_weight IS DISTINCT FROM 0
"""
IN_THE_INDEX = (*IN_THE_INDEX_BEFORE, "name", "description")


def upgrade() -> None:
    extend_shops()
    extend_images()
    extend_prompts()
    create_score_floors()
    create_events()


def downgrade() -> None:
    """Photos that are found by their texts as well are indexed again, from their stored vectors."""
    op.execute(WITH_TEXT)
    for table in ("event", "score_floor"):
        op.drop_table(table)
    recreate_trigger(IN_THE_INDEX_BEFORE)
    op.drop_index("ix_shop_reindexing", "shop")
    for index in ("warnings", "product", "item_weight", "matching", "attributes"):
        op.drop_index(f"ix_image_{index}", "image")
    for table, columns in NEW_COLUMNS.items():
        for column in columns:
            op.drop_column(table, column)


def extend_shops() -> None:
    op.add_column("shop", sa.Column("text_weight", sa.Float(), server_default="0", nullable=False))
    op.add_column("shop", sa.Column("reindexing", sa.Boolean(), server_default="false", nullable=False))
    op.create_index("ix_shop_reindexing", "shop", ["id"], postgresql_where=sa.text("reindexing"))


def extend_images() -> None:
    """``vector_revision`` counts the vectors that the index had of a photo."""
    op.add_column("image", sa.Column("vector_revision", sa.Integer(), server_default="0", nullable=False))
    op.add_column("image", sa.Column("item_weight", sa.Float(), server_default="0"))
    in_the_index = sa.text("status = 'embedded'")
    weighted = ["shop_id", "item_weight"]
    op.create_index("ix_image_item_weight", "image", weighted, postgresql_where=in_the_index)
    op.add_column("image", sa.Column("auto_tag", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("image", json("suggestions", "{}"))
    op.add_column("image", json("warnings", "[]"))
    warned = sa.text("warnings <> '[]'::jsonb")
    op.create_index("ix_image_warnings", "image", ["shop_id", "id"], postgresql_where=warned)
    matched = ["vector_revision", "category_id", "style_id", "age_group_id", "created_at"]
    shown = sa.text("status = 'embedded'")
    op.create_index(
        "ix_image_matching", "image", ["shop_id", "id"], postgresql_include=matched, postgresql_where=shown
    )
    by_path = {"attributes": "jsonb_path_ops"}
    op.create_index(
        "ix_image_attributes", "image", ["attributes"], postgresql_using="gin", postgresql_ops=by_path
    )
    grouped = sa.text("product_id IS NOT NULL")
    op.create_index("ix_image_product", "image", ["shop_id", "product_id"], postgresql_where=grouped)
    recreate_trigger(IN_THE_INDEX)
    op.add_column("embedding", sa.Column("text_vector", sa.LargeBinary()))
    op.add_column("embedding", sa.Column("text_sha256", sa.String(64)))
    op.add_column("embedding", sa.Column("item_vector", sa.LargeBinary()))


def recreate_trigger(columns: tuple[str, ...]) -> None:
    """Raise ``metadata_revision`` with every change of these columns, whoever makes it."""
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("OLD", "NEW"))
    op.execute("DROP TRIGGER count_metadata_change ON image")
    op.execute(
        f"CREATE TRIGGER count_metadata_change BEFORE UPDATE OF {', '.join(columns)} ON image"
        f" FOR EACH ROW WHEN (({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION count_metadata_change()"
    )


def extend_prompts() -> None:
    op.add_column("prompt", json("query", "{}"))
    op.add_column("prompt", sa.Column("no_match", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("prompt", json("also_shown", "{}"))
    op.add_column("prompt", sa.Column("normalised", sa.Text(), server_default="", nullable=False))
    op.execute(r"UPDATE prompt SET normalised = lower(btrim(regexp_replace(prompt, '\s+', ' ', 'g')))")


def create_score_floors() -> None:
    op.create_table(
        "score_floor",
        reference("shop_id", "shop", "CASCADE"),
        sa.Column("model_key", sa.String(250), nullable=False),
        sa.Column("floor", sa.Float()),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("computed_revision", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(32)),
        moment("lease_until", nullable=True),
        moment("changed_at"),
        moment("behind_since"),
        moment("computed_at", nullable=True),
        sa.PrimaryKeyConstraint("shop_id", "model_key"),
    )
    behind = sa.text("revision <> computed_revision")
    op.create_index("ix_score_floor_work", "score_floor", ["behind_since"], postgresql_where=behind)
    op.execute(FLOORS_OF_BEFORE)


def create_events() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        reference("shop_id", "shop", "CASCADE"),
        sa.Column("prompt_id", sa.Uuid(), sa.ForeignKey("prompt.id", ondelete="CASCADE"), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        moment("created_at"),
        sa.UniqueConstraint("prompt_id", "image_id", "kind", name="uq_event"),
    )
    op.create_index("ix_event_shop_created", "event", ["shop_id", "created_at"])
    op.create_index("ix_event_shop", "event", ["shop_id", "id"])


def reference(name: str, table: str, on_delete: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(f"{table}.id", ondelete=on_delete), nullable=False)


def json(name: str, default: str) -> sa.Column[Any]:
    return sa.Column(name, postgresql.JSONB(), server_default=default, nullable=False)


def moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    default = None if nullable else sa.func.now()
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)
