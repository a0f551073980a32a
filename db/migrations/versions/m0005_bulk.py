"""Imports, jobs' errors, webhooks, the model behind each index version, and the index's audits."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NEW_COLUMNS = {
    "job": (
        "request",
        "cancel_requested",
        "served_at",
        "idempotency_key",
        "request_sha256",
        "error_code",
        "phase",
    ),
    "image": ("import_job_id", "source_url", "source_etag"),
    "shop": ("webhook_url", "webhook_nonce"),
    "index_version": ("source", "revision", "live_at"),
}
NEW_TABLES = ("index_audit", "webhook_delivery", "import_row", "job_error")


def upgrade() -> None:
    extend_jobs()
    create_import_rows()
    extend_images()
    create_webhooks()
    extend_index_versions()
    create_audits()


def downgrade() -> None:
    for table in NEW_TABLES:
        op.drop_table(table)
    op.drop_index("uq_index_version_building", "index_version")
    op.drop_index("ix_image_import", "image")
    op.drop_index("uq_job_idempotency", "job")
    for table, columns in NEW_COLUMNS.items():
        for column in columns:
            op.drop_column(table, column)


def extend_jobs() -> None:
    op.add_column("job", json("request", "{}"))
    op.add_column("job", sa.Column("cancel_requested", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("job", moment("served_at", nullable=True))
    op.add_column("job", sa.Column("idempotency_key", sa.String(200)))
    op.add_column("job", sa.Column("request_sha256", sa.String(64)))
    op.add_column("job", sa.Column("error_code", sa.String(64)))
    op.add_column("job", sa.Column("phase", sa.String(16)))
    given = sa.text("idempotency_key IS NOT NULL")
    op.create_index(
        "uq_job_idempotency", "job", ["shop_id", "idempotency_key"], unique=True, postgresql_where=given
    )
    op.create_table(
        "job_error",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        reference("job_id", "job", "CASCADE"),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("sku", sa.String(250)),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("row", postgresql.JSON(), nullable=False),
        sa.UniqueConstraint("job_id", "line", name="uq_job_error_line"),
    )


def create_import_rows() -> None:
    """What became of each line, so that a job which is carried on skips what is done, and counts exactly."""
    op.create_table(
        "import_row",
        reference("job_id", "job", "CASCADE"),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("sku", sa.String(250)),
        sa.Column("image_id", sa.Integer()),
        sa.Column("checked", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("new_photo", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.PrimaryKeyConstraint("job_id", "line"),
        sa.UniqueConstraint("job_id", "sku", name="uq_import_row_sku"),
    )


def extend_images() -> None:
    op.add_column("image", sa.Column("import_job_id", sa.Integer()))
    op.add_column("image", sa.Column("source_url", sa.Text()))
    op.add_column("image", sa.Column("source_etag", sa.Text()))
    waiting = sa.text("import_job_id IS NOT NULL AND status IN ('pending', 'processing')")
    op.create_index("ix_image_import", "image", ["import_job_id"], postgresql_where=waiting)


def create_webhooks() -> None:
    """The secret is derived from the nonce and the server's secret, and never stored."""
    op.add_column("shop", sa.Column("webhook_url", sa.Text()))
    op.add_column("shop", sa.Column("webhook_nonce", sa.LargeBinary()))
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Uuid(), primary_key=True),
        reference("shop_id", "shop", "CASCADE"),
        sa.Column("job_id", sa.Integer()),
        sa.Column("event", sa.String(64), nullable=False),
        json("payload", "{}"),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(32)),
        moment("lease_until", nullable=True),
        sa.Column("error", sa.String(1000)),
        moment("created_at"),
        moment("sent_at", nullable=True),
    )
    queued = sa.text("status = 'queued'")
    op.create_index("ix_webhook_delivery_work", "webhook_delivery", ["created_at"], postgresql_where=queued)
    op.create_index("ix_webhook_delivery_shop", "webhook_delivery", ["shop_id", "created_at"])


def extend_index_versions() -> None:
    """Where its model came from, so that the service can load it again; null: the configuration's."""
    op.add_column("index_version", sa.Column("source", sa.Text()))
    op.add_column("index_version", sa.Column("revision", sa.String(250)))
    op.add_column("index_version", moment("live_at", nullable=True))
    building = sa.text("state = 'building'")
    op.create_index(
        "uq_index_version_building", "index_version", ["state"], unique=True, postgresql_where=building
    )


def create_audits() -> None:
    op.create_table(
        "index_audit",
        reference("version_id", "index_version", "CASCADE"),
        reference("shop_id", "shop", "CASCADE"),
        json("found", "{}"),
        json("repaired", "{}"),
        sa.Column("lease_token", sa.String(32)),
        moment("lease_until", nullable=True),
        moment("audited_at", nullable=True),
        sa.PrimaryKeyConstraint("version_id", "shop_id"),
    )
    op.create_index("ix_index_audit_audited", "index_audit", ["audited_at"])


def reference(name: str, table: str, on_delete: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(f"{table}.id", ondelete=on_delete), nullable=False)


def json(name: str, default: str) -> sa.Column[Any]:
    return sa.Column(name, postgresql.JSONB(), server_default=default, nullable=False)


def moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    default = None if nullable else sa.func.now()
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)
