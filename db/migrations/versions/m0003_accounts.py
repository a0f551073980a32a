"""Sign-up, scoped keys, mail, staff, jobs, and what the search index keeps beside each vector."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NEW_TABLES = ("signup_link", "mail", "staff", "staff_session", "audit_entry", "job")
REFERENCES = ("category_id", "style_id", "age_group_id")
VOCABULARIES = ("category", "style", "age_group")

# A trigger, so that nobody forgets: PATCH, a term's deletion, ON DELETE SET NULL, an administrator's UPDATE.
COUNT_METADATA_CHANGES = """
CREATE FUNCTION count_metadata_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.metadata_revision := OLD.metadata_revision + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER count_metadata_change
    BEFORE UPDATE OF category_id, style_id, age_group_id ON image
    FOR EACH ROW
    WHEN ((OLD.category_id, OLD.style_id, OLD.age_group_id)
          IS DISTINCT FROM (NEW.category_id, NEW.style_id, NEW.age_group_id))
    EXECUTE FUNCTION count_metadata_change();
"""


def upgrade() -> None:
    extend_shops()
    extend_images()
    extend_taxonomies()
    create_signups()
    create_staff()
    create_jobs()


def downgrade() -> None:
    for table in reversed(NEW_TABLES):
        op.drop_table(table)
    for table in VOCABULARIES:
        op.drop_index(f"uq_{table}_name", table)
        op.create_unique_constraint(f"{table}_name_key", table, ["name"])
    op.execute("DROP TRIGGER count_metadata_change ON image; DROP FUNCTION count_metadata_change")
    for column in REFERENCES:
        op.drop_index(f"ix_image_{column}", "image")
    op.drop_index("ix_image_metadata_work", "image")
    op.drop_index("ix_prompt_api_key_id", "prompt")
    op.drop_index("ix_prompt_created_at", "prompt")
    for column in ("metadata_revision", "indexed_revision"):
        op.drop_column("image", column)
    for column in ("name", "allowed_origins", "max_images", "requests_per_minute", "replaced_by_id"):
        op.drop_column("api_key", column)
    for column in ("requests_per_minute", "prompts_per_day", "max_photos", "activated_at"):
        op.drop_column("shop", column)


def extend_shops() -> None:
    for column in ("requests_per_minute", "prompts_per_day", "max_photos"):
        op.add_column("shop", sa.Column(column, sa.Integer()))
    op.add_column("shop", moment("activated_at", nullable=True))
    op.execute("UPDATE shop SET activated_at = created_at")
    op.add_column("api_key", sa.Column("name", sa.String(100), nullable=False, server_default=""))
    op.alter_column("api_key", "name", server_default=None)
    origins: sa.Column[Any] = sa.Column(
        "allowed_origins", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False
    )
    op.add_column("api_key", origins)
    op.add_column("api_key", sa.Column("max_images", sa.Integer()))
    op.add_column("api_key", sa.Column("requests_per_minute", sa.Integer()))
    op.add_column("api_key", reference("replaced_by_id", "api_key", "SET NULL"))
    op.create_index("ix_api_key_replaced_by_id", "api_key", ["replaced_by_id"])
    op.create_index("ix_prompt_api_key_id", "prompt", ["api_key_id"])
    op.create_index("ix_prompt_created_at", "prompt", ["created_at"])


def extend_images() -> None:
    """Photos that were indexed before lack their metadata in the index, and are brought up to date."""
    for column in ("metadata_revision", "indexed_revision"):
        op.add_column("image", sa.Column(column, sa.Integer(), server_default="0", nullable=False))
    op.execute("UPDATE image SET metadata_revision = 1")
    behind = sa.text("status = 'embedded' AND metadata_revision <> indexed_revision")
    op.create_index("ix_image_metadata_work", "image", ["shop_id", "id"], postgresql_where=behind)
    for column in REFERENCES:
        given = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_image_{column}", "image", [column], postgresql_where=given)
    op.execute(COUNT_METADATA_CHANGES)


def extend_taxonomies() -> None:
    """Names that differ in case only were possible: the later ones get their id behind the name."""
    for table in VOCABULARIES:
        op.execute(
            f"UPDATE {table} SET name = left(name, 235) || ' (' || id || ')' WHERE EXISTS (SELECT 1"
            f" FROM {table} AS older WHERE lower(older.name) = lower({table}.name) AND older.id < {table}.id)"
        )
        op.drop_constraint(f"{table}_name_key", table)
        op.create_index(f"uq_{table}_name", table, [sa.text("lower(name)")], unique=True)


def create_signups() -> None:
    op.create_table(
        "signup_link",
        identity(),
        reference("shop_id", "shop", "CASCADE", nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        moment("created_at"),
        moment("expires_at", nullable=True),
        moment("used_at", nullable=True),
        moment("superseded_at", nullable=True),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_signup_link_shop_id", "signup_link", ["shop_id"])
    op.create_table(
        "mail",
        identity(),
        reference("shop_id", "shop", "CASCADE", nullable=False),
        reference("link_id", "signup_link", "CASCADE", nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        *lease(),
        moment("created_at"),
        moment("sent_at", nullable=True),
    )
    op.create_index("ix_mail_shop_id", "mail", ["shop_id"])
    op.create_index("ix_mail_link_id", "mail", ["link_id"])
    op.create_index("ix_mail_work", "mail", ["id"], postgresql_where=sa.text("status = 'queued'"))
    op.create_index("ix_mail_recipient_created", "mail", ["recipient", "created_at"])


def create_staff() -> None:
    op.create_table(
        "staff",
        identity(),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("password_hash", sa.String(250), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        moment("created_at"),
        moment("last_login_at", nullable=True),
        sa.UniqueConstraint("email"),
    )
    op.create_table(
        "staff_session",
        identity(),
        reference("staff_id", "staff", "CASCADE", nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        moment("created_at"),
        moment("expires_at", nullable=True),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_staff_session_staff_id", "staff_session", ["staff_id"])
    op.create_table(
        "audit_entry",
        identity(),
        reference("staff_id", "staff", "SET NULL"),
        sa.Column("staff_email", sa.String(320), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.String(250), nullable=False),
        json("details"),
        moment("created_at"),
    )
    op.create_index("ix_audit_entry_created_at", "audit_entry", ["created_at"])


def create_jobs() -> None:
    op.create_table(
        "job",
        identity(),
        sa.Column("shop_id", sa.Integer()),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        json("counts"),
        *lease(),
        moment("created_at"),
        moment("started_at", nullable=True),
        moment("finished_at", nullable=True),
    )
    waiting = sa.text("status IN ('queued', 'running')")
    op.create_index("ix_job_work", "job", ["id"], postgresql_where=waiting)
    op.create_index("ix_job_shop_id", "job", ["shop_id"])


def identity() -> sa.Column[Any]:
    return sa.Column("id", sa.Integer(), primary_key=True)


def reference(name: str, table: str, on_delete: str, *, nullable: bool = True) -> sa.Column[Any]:
    key = sa.ForeignKey(f"{table}.id", ondelete=on_delete)
    return sa.Column(name, sa.Integer(), key, nullable=nullable)


def lease() -> list[sa.Column[Any]]:
    return [
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(32)),
        moment("lease_until", nullable=True),
        sa.Column("error", sa.String(1000)),
    ]


def json(name: str) -> sa.Column[Any]:
    return sa.Column(name, postgresql.JSONB(), server_default="{}", nullable=False)


def moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    default = None if nullable else sa.func.now()
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)
