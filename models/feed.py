"""One row of an import, whatever the format of its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FeedFormat(StrEnum):
    """``auto``: by media type, file name and first bytes."""

    AUTO = "auto"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A member of the ZIP, by its name there."""

    name: str


@dataclass(frozen=True, slots=True)
class PhotoData:
    """Base64 in the row itself, not decoded yet."""

    base64: str


@dataclass(frozen=True, slots=True)
class PhotoUrl:
    """To be fetched."""

    url: str


PhotoSource = PhotoFile | PhotoData | PhotoUrl


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A row that can be read. ``values``: the fields of ``models.image_api.ImageFields`` that it gives; terms
    (Category, Styles, AgeGroup) are ids, or names that are looked up, in any case of letters.

    ``line``: of the file, from 1 (a record of JSON is a line). ``loose_terms``: names of terms that are
    the feed's own vocabulary (a Shopify type, a Merchant category): one that does not exist is no error.
    ``photo`` None: the photo stays as it is. ``raw``: the row as the file has it, by column.
    """

    line: int
    sku: str
    values: Mapping[str, Any]
    photo: PhotoSource | None
    raw: Mapping[str, str]
    loose_terms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that cannot be imported. ``code`` is that of an AppError, ``reason`` is written for the shop."""

    line: int
    sku: str | None
    code: str
    reason: str
    raw: Mapping[str, str]


class FeedMode(StrEnum):
    """``full``: photos whose sku the feed does not have are removed."""

    INCREMENTAL = "incremental"
    FULL = "full"


class OnError(StrEnum):
    """What a broken row does to the others. ``reject_all``: nothing is stored."""

    REJECT_ALL = "reject_all"
    SKIP_ROWS = "skip_rows"
