"""A row's fields against the rules of an upload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from models.errors import AppError, InvalidInput
from models.feed import BrokenRow, FeedRow, PhotoSource
from models.image import TERM_COLUMNS
from models.image_api import ImageFields
from models.texts import storable_text
from serve_app.field_errors import sentence

MAX_TERM_CHARS = 250


@dataclass(slots=True)
class Draft:
    """A row's fields, not checked yet. ``columns``: the file's own name of each field."""

    line: int
    values: dict[str, Any]
    raw: Mapping[str, Any]
    columns: Mapping[str, str]
    photo: PhotoSource | None = None
    loose_terms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    only_new: frozenset[str] = frozenset()


def checked_row(draft: Draft) -> FeedRow | BrokenRow:
    """The row, or what is wrong with it, in the words of its file."""
    values = draft.values
    try:
        sku = values["sku"] = _sku(draft)
        names = _term_names(draft)
        fields = ImageFields.model_validate({**values, **dict.fromkeys(names)} if names else values)
    except ValidationError as error:
        return _broken(draft, InvalidInput(_reason(error, draft.columns)))
    except AppError as error:
        return _broken(draft, error)
    given = {name: getattr(fields, name) for name in values if name != "sku"}
    given.update(names)
    return FeedRow(draft.line, sku, given, draft.photo, draft.raw, draft.loose_terms, only_new=draft.only_new)


def _broken(draft: Draft, error: AppError) -> BrokenRow:
    sku = draft.values.get("sku")
    known = sku if isinstance(sku, str) else None
    return BrokenRow.of(draft.line, known, error.code, error.message, draft.raw)


def _sku(draft: Draft) -> Any:
    sku = draft.values.get("sku")
    if sku is None or (isinstance(sku, str) and not sku.strip()):
        raise InvalidInput(f"{draft.columns.get('sku', 'sku')}: is empty. Give each row one of its own.")
    return sku.strip() if isinstance(sku, str) else sku


def _term_names(draft: Draft) -> dict[str, str]:
    """The terms that are given by name: what is neither empty nor a number. Raises InvalidInput."""
    names: dict[str, str] = {}
    for term in TERM_COLUMNS:
        value = draft.values.get(term)
        if not isinstance(value, str):
            continue
        name = value.strip()
        if not name or (name.isascii() and name.lstrip("+-").isdigit()):
            continue
        names[term] = _checked_name(name, draft.columns[term])
    return names


def _checked_name(name: str, column: str) -> str:
    try:
        storable_text(name)
    except ValueError as error:
        raise InvalidInput(f"{column}: {error}") from None
    if len(name) > MAX_TERM_CHARS:
        raise InvalidInput(f"{column}: a name has at most {MAX_TERM_CHARS} characters, this one {len(name)}.")
    return name


def _reason(error: ValidationError, columns: Mapping[str, str]) -> str:
    found = error.errors(include_url=False)
    return "; ".join(_finding(one, columns) for one in found[:5])


def _finding(error: Any, columns: Mapping[str, str]) -> str:
    if error["loc"]:
        name = str(error["loc"][0])
        return f"{columns.get(name, name)}: {sentence(error)}"
    name, _, rest = str(error["msg"]).removeprefix("Value error, ").partition(" ")
    return f"{columns.get(name, name)}: {rest}"
