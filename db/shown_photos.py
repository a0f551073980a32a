"""Photos as shoppers see them, with their terms' names. Plain rows, since each answer has many."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session
from sqlmodel import col

from models.image import Image, ImageStatus
from models.taxonomy import AgeGroup, Category, Style


class ShownPhoto(NamedTuple):
    """What answers show of a photo, and the revision of its vector."""

    image_id: int
    sku: str
    product_id: str | None
    name: str
    description: str
    category_id: int | None
    category_name: str | None
    style_id: int | None
    style_name: str | None
    age_group_id: int | None
    age_group_name: str | None
    attributes: dict[str, Any]
    product_url: str | None
    photo_sha256: str
    vector_revision: int


def _shown() -> Any:
    return (
        select(
            col(Image.id),
            col(Image.sku),
            col(Image.product_id),
            col(Image.name),
            col(Image.description),
            col(Image.category_id),
            col(Category.name),
            col(Image.style_id),
            col(Style.name),
            col(Image.age_group_id),
            col(AgeGroup.name),
            col(Image.attributes),
            col(Image.product_url),
            col(Image.photo_sha256),
            col(Image.vector_revision),
        )
        .select_from(Image)
        .outerjoin(Category, col(Category.id) == Image.category_id)
        .outerjoin(Style, col(Style.id) == Image.style_id)
        .outerjoin(AgeGroup, col(AgeGroup.id) == Image.age_group_id)
    )


def _prepared() -> str:
    """Each connection plans it once: planning it takes longer than its answer does."""
    query = _shown().where(
        col(Image.shop_id) == literal_column("$1", Integer),
        col(Image.status) == ImageStatus.EMBEDDED,
        col(Image.id) == func.any(literal_column("$2", ARRAY(Integer))),
    )
    dialect: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    sql = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return f"PREPARE {_NAME} (integer, integer[]) AS {sql}"


_NAME = "photos_by_id"
_PREPARE = _prepared()
_AGAIN_AFTER_S = 60.0  # a plan made while the table was small reads all of it


def by_id(connection: Connection, shop_id: int, ids: Collection[int]) -> dict[int, ShownPhoto]:
    """Those of ``ids`` that may be shown to a shopper: this shop's, and embedded.

    Answers without filters pass through here: a photo that was deleted never appears, whatever Chroma holds.
    """
    if not ids:
        return {}
    _prepare(connection)
    rows = connection.exec_driver_sql(f"EXECUTE {_NAME} (%s, %s)", (shop_id, list(ids)))
    return {row[0]: ShownPhoto(*row) for row in rows}


def _prepare(connection: Connection) -> None:
    """Where this connection has not done so, or long ago."""
    prepared_at, now = connection.info.get(_NAME), time.monotonic()
    if prepared_at is not None and now - prepared_at < _AGAIN_AFTER_S:
        return
    if prepared_at is not None:
        connection.exec_driver_sql(f"DEALLOCATE {_NAME}")
        del connection.info[_NAME]
    connection.exec_driver_sql(_PREPARE)
    connection.info[_NAME] = now


def in_order(
    session: Session, conditions: Sequence[ColumnElement[bool]], ids: Sequence[int], limit: int
) -> list[ShownPhoto]:
    """The first ``limit`` of ``ids`` that fulfil the conditions, in that order."""
    array = literal(list(ids), ARRAY(Integer))
    wanted = func.unnest(array).table_valued("id", with_ordinality="place").render_derived("wanted")
    query = _shown().join(wanted, wanted.c.id == Image.id).where(*conditions)
    query = query.order_by(wanted.c.place).limit(limit)
    return [ShownPhoto(*row) for row in session.execute(query)] if ids else []


def of_products(
    session: Session, conditions: Sequence[ColumnElement[bool]], product_ids: Collection[str]
) -> list[ShownPhoto]:
    """The photos of these products that fulfil the conditions, by id."""
    query = _shown().where(*conditions, col(Image.product_id).in_(product_ids)).order_by(col(Image.id))
    return [ShownPhoto(*row) for row in session.execute(query)] if product_ids else []
