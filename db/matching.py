"""Which of a shop's photos satisfy filters."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    String,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, JSONPATH
from sqlalchemy.orm import Session
from sqlmodel import col

from db import shown_photos
from db.shown_photos import ShownPhoto
from models.errors import UnknownReference
from models.filter_api import AttributeFilter, Filters, ListFilter
from models.image import Image, ImageStatus
from models.search import PhotoVersions
from models.taxonomy import AgeGroup, Category, Style

BIG_ENDIAN_INT32 = np.dtype(">i4")
# So many values are asked for one by one, for which the index on attributes can be used.
FEW_VALUES = 4
_COMPARISONS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
_VOCABULARIES: dict[str, tuple[Any, str]] = {
    "Category": (Category, "/api/categories/"),
    "Styles": (Style, "/api/styles/"),
    "AgeGroup": (AgeGroup, "/api/age-groups/"),
}


@dataclass(frozen=True, slots=True)
class Matching:
    """Filters whose terms are known by their ids; None is no filter."""

    category_ids: frozenset[int] | None = None
    style_ids: frozenset[int] | None = None
    age_group_ids: frozenset[int] | None = None
    filters: Filters | None = None

    @property
    def reads_all(self) -> bool:
        """Whether PostgreSQL has to read all of the shop's photos, as no condition can be looked up."""
        filters = self.filters
        if filters is None or (self.category_ids, self.style_ids, self.age_group_ids) != (None, None, None):
            return filters is None
        listed = any(one is not None and one.within is not None for one in (filters.sku, filters.product_id))
        return not listed and not any(_is_looked_up(one) for one in filters.attributes.values())


def resolve(session: Session, filters: Filters) -> Matching:
    """The filters with ids in place of names, whose case does not matter.

    Raises UnknownReference for an id or a name that is not in its list.
    """
    asked = {field: value for field in _VOCABULARIES if (value := getattr(filters, field)) is not None}
    found = _terms(session, asked) if asked else {}
    ids = {
        field: frozenset(_known(field, number, value, found[field]) for number, value in enumerate(values))
        for field, values in asked.items()
    }
    return Matching(ids.get("Category"), ids.get("Styles"), ids.get("AgeGroup"), filters)


def versions(session: Session, shop_id: int, matching: Matching, limit: int) -> PhotoVersions | None:
    """The embedded photos that match; None where there are more than ``limit``.

    One value holds them all: as rows, 20,000 of them take three times as long to read.
    """
    photo: Any = select(col(Image.id), col(Image.vector_revision))
    found = photo.where(*conditions(shop_id, matching)).limit(limit + 1).subquery()
    pair = cast(found.c.id, BigInteger).op("<<")(32).op("|")(found.c.vector_revision)
    packed = session.scalar(select(func.string_agg(func.int8send(pair), literal(b"", BYTEA))))
    pairs = np.frombuffer(packed or b"", BIG_ENDIAN_INT32).astype(np.int32).reshape(-1, 2)
    return None if len(pairs) > limit else PhotoVersions(pairs[:, 0].copy(), pairs[:, 1].copy())


def rows(
    session: Session, shop_id: int, matching: Matching, ids: Sequence[int], limit: int
) -> list[ShownPhoto]:
    """The first ``limit`` of ``ids`` that match, in that order."""
    return shown_photos.in_order(session, conditions(shop_id, matching), ids, limit)


def rows_of_products(
    session: Session, shop_id: int, matching: Matching, product_ids: Collection[str]
) -> list[ShownPhoto]:
    """The photos of these products that match, by id."""
    return shown_photos.of_products(session, conditions(shop_id, matching), product_ids)


def conditions(shop_id: int, matching: Matching) -> list[ColumnElement[bool]]:
    """What the shop's embedded photos that match have in common; names and values are bound parameters."""
    return [
        col(Image.shop_id) == shop_id,
        col(Image.status) == ImageStatus.EMBEDDED,
        *_of_terms(matching),
        *([] if matching.filters is None else _of_fields(matching.filters)),
    ]


def _is_looked_up(wanted: AttributeFilter) -> bool:
    return not wanted.bounds and (wanted.any is None or len(wanted.any) <= FEW_VALUES)


def _of_terms(matching: Matching) -> Iterator[ColumnElement[bool]]:
    if matching.category_ids is not None:
        yield col(Image.category_id).in_(matching.category_ids)
    if matching.style_ids is not None:
        yield col(Image.style_id).in_(matching.style_ids)
    if matching.age_group_ids is not None:
        yield col(Image.age_group_id).in_(matching.age_group_ids)


def _of_fields(filters: Filters) -> Iterator[ColumnElement[bool]]:
    for name, wanted in filters.attributes.items():
        yield _attribute(name, wanted)
    if filters.sku is not None:
        yield from _listed(col(Image.sku), filters.sku)
    if filters.product_id is not None:
        yield from _listed(col(Image.product_id), filters.product_id)
    if filters.created_after is not None:
        yield col(Image.created_at) > filters.created_after


def _listed(column: Any, wanted: ListFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.within is not None:
        yield column.in_(wanted.within)
    if wanted.not_in is not None:  # what has none is in no list
        yield or_(column.is_(None), column.not_in(wanted.not_in))


def _attribute(name: str, wanted: AttributeFilter) -> ColumnElement[bool]:
    bounds = wanted.bounds
    if bounds:
        return _in_range(name, bounds)
    values = [wanted.equals] if wanted.any is None else wanted.any
    if len(values) <= FEW_VALUES:
        attributes = col(Image.attributes)
        forms = (form for value in values for form in ({name: value}, {name: [value]}))
        return or_(*(attributes.op("@>", is_comparison=True)(_json(form)) for form in forms))
    return _any_of(name, values)


def _any_of(name: str, values: Sequence[Any]) -> ColumnElement[bool]:
    value = attribute(name)
    texts = [json.dumps(one) for one in values]
    wanted = cast(literal(texts, ARRAY(String)), ARRAY(JSONB))
    in_list = and_(func.jsonb_typeof(value) == "array", value.op("@>")(func.any(wanted)))
    return or_(value == func.any(wanted), in_list)


def _in_range(name: str, bounds: dict[str, float]) -> ColumnElement[bool]:
    """By a JSON path, which is false, and no error, for what is not a number. It looks into a list, once."""
    comparisons = " && ".join(f"@ {_COMPARISONS[bound]} ${bound}" for bound in bounds)
    path = f'$ ? (@.type() == "number" && {comparisons})'
    return func.jsonb_path_exists(attribute(name), cast(path, JSONPATH), _json(bounds))


def attribute(name: str) -> ColumnElement[Any]:
    """One attribute as JSON; NULL where the photo does not have it."""
    return col(Image.attributes).op("->", return_type=JSONB())(literal(name, String))


def _json(value: Any) -> ColumnElement[Any]:
    return cast(literal(json.dumps(value), String), JSONB)


def _terms(session: Session, asked: dict[str, list[int | str]]) -> dict[str, dict[int | str, int]]:
    """By field: the id of each value that is known. One query for all vocabularies."""
    parts = [part for field, values in asked.items() for part in _lookups(field, values)]
    found: dict[str, dict[int | str, int]] = {field: {} for field in asked}
    union = parts[0].union_all(*parts[1:])
    for field, name, number, term_id in session.execute(union):
        found[field][number if name is None else name] = term_id
    return found


def _lookups(field: str, values: Sequence[int | str]) -> Iterator[Any]:
    table, _ = _VOCABULARIES[field]
    names = [value for value in values if isinstance(value, str)]
    ids = [value for value in values if isinstance(value, int)]
    if names:
        given = func.unnest(literal(names, ARRAY(String))).table_valued("name").render_derived("given")
        known = func.lower(col(table.name)) == func.lower(given.c.name)
        query = select(literal(field), given.c.name, cast(None, Integer), col(table.id))
        yield query.join_from(given, table, known)
    if ids:
        number = col(table.id)
        yield select(literal(field), cast(None, String), number, number).where(number.in_(ids))


def _known(field: str, number: int, value: int | str, found: dict[int | str, int]) -> int:
    if value not in found:
        _, path = _VOCABULARIES[field]
        shown = value if isinstance(value, int) else f"'{value}'"
        message = f"{field} {shown} does not exist. GET {path} lists the ids and names."
        raise UnknownReference(message).at(f"/filters/{field}/{number}")
    return found[value]
