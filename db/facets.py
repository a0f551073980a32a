"""How many of the matching photos have each value of a field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, CTE, Integer, String, cast, func, literal, null, or_, select, union_all
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH
from sqlalchemy.orm import Session
from sqlmodel import col

from db.matching import Matching, attribute, conditions
from models.image import Image
from models.recommendation_api import FacetCount
from models.taxonomy import AgeGroup, Category, Style

MAX_FACET_VALUES = 100
ATTRIBUTE = "attributes."
# The value itself, or each element of a list; no object, list or null.
PLAIN_VALUES = '$ ? (@.type() == "string" || @.type() == "number" || @.type() == "boolean")'
_TERMS: dict[str, tuple[Any, Any]] = {
    "Category": (Category, Image.category_id),
    "Styles": (Style, Image.style_id),
    "AgeGroup": (AgeGroup, Image.age_group_id),
}


def count(
    session: Session, shop_id: int, matching: Matching, names: Sequence[str]
) -> dict[str, list[FacetCount]]:
    """By facet, its most frequent values first, equals by value; at most ``MAX_FACET_VALUES`` of each.

    Null stands for the photos without the term or attribute, those with an empty list among them. A list
    counts once for each of its different elements; objects and nested lists are not counted. One statement
    that reads the photos once.
    """
    names = list(dict.fromkeys(names))
    photos = _photos(shop_id, matching, names)
    every = union_all(*(_facet(number, name, photos) for number, name in enumerate(names))).subquery()
    found: dict[str, list[FacetCount]] = {name: [] for name in names}
    rows = select(every).order_by(every.c.facet, every.c.photos.desc(), _text(every.c.value))
    for number, term_id, value, photo_count in session.execute(rows):
        found[names[number]].append(FacetCount(id=term_id, value=value, count=photo_count))
    return found


def _photos(shop_id: int, matching: Matching, names: Sequence[str]) -> CTE:
    """The matching photos, reduced to the fields that are counted: f0, f1, …"""
    fields = [
        _TERMS[name][1] if name in _TERMS else attribute(name.removeprefix(ATTRIBUTE)) for name in names
    ]
    labelled = [field.label(f"f{number}") for number, field in enumerate(fields)]
    return select(*labelled).where(*conditions(shop_id, matching)).cte("photos")


def _facet(number: int, name: str, photos: CTE) -> Any:
    """Rows of (facet, term id, value as JSON, photos)."""
    field = photos.c[f"f{number}"]
    raw = select(field.label("value"), func.count().label("photos")).group_by(field).subquery()
    values = (_of_terms(name, raw) if name in _TERMS else _of_attribute(raw)).subquery()
    query = select(literal(number, Integer).label("facet"), values)
    best = query.order_by(values.c.photos.desc(), _text(values.c.value)).limit(MAX_FACET_VALUES)
    return select(best.subquery())


def _of_terms(name: str, raw: Any) -> Any:
    table, _ = _TERMS[name]
    query = select(
        raw.c.value.label("term_id"), func.to_jsonb(col(table.name), type_=JSONB).label("value"), raw.c.photos
    )
    return query.outerjoin_from(raw, table, col(table.id) == raw.c.value)


def _of_attribute(raw: Any) -> Any:
    """Equal values were counted before lists are taken apart, which is quicker than photo by photo."""
    plain = func.jsonb_path_query(raw.c.value, cast(PLAIN_VALUES, JSONPATH), type_=JSONB)
    elements = select(raw.c.value.label("raw"), plain.label("value"), raw.c.photos).distinct()
    empty = or_(
        raw.c.value.is_(None),
        func.jsonb_typeof(raw.c.value) == "null",
        raw.c.value == cast(literal("[]", String), JSONB),
    )
    none = select(raw.c.value, cast(null(), JSONB), raw.c.photos).where(empty)
    every = union_all(elements, none).subquery()
    photos = cast(func.sum(every.c.photos), Integer).label("photos")
    return select(cast(null(), Integer).label("term_id"), every.c.value, photos).group_by(every.c.value)


def _text(value: Any) -> Any:
    return value.op("#>>", return_type=String())(cast(literal("{}"), ARRAY(String))).collate("C")
