"""How values look in the tables of the admin. Text that people wrote is always escaped."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from markupsafe import Markup, escape
from starlette.requests import Request

SHORT_CHARACTERS = 60
COLOURS = {
    "active": "green",
    "embedded": "green",
    "sent": "green",
    "succeeded": "green",
    "failed": "red",
    "suspended": "red",
    "deleting": "orange",
    "pending": "yellow",
    "queued": "yellow",
    "processing": "blue",
    "running": "blue",
}


def moment(value: datetime) -> Markup:
    """In UTC, to the second."""
    return Markup("<span class='text-nowrap'>{:%Y-%m-%d %H:%M:%S}</span>").format(value.astimezone(UTC))


def badge(value: StrEnum) -> Markup:
    """A status as a coloured label."""
    colour = COLOURS.get(str(value), "secondary")
    return Markup("<span class='badge bg-{0}-lt'>{1}</span>").format(colour, str(value))


def text(value: Any) -> Markup:
    """JSON, readable."""
    shown = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    return Markup("<pre class='m-0'>{}</pre>").format(shown) if value else Markup("")


def short(model: Any, name: str) -> Markup:
    """The beginning of a long text; the whole appears under the pointer."""
    value = getattr(model, name) or ""
    if len(value) <= SHORT_CHARACTERS:
        return escape(value)
    return Markup("<span title='{}'>{}…</span>").format(value, value[:SHORT_CHARACTERS])


def wrapped(model: Any, name: str) -> Markup:
    """A long text over several lines."""
    return Markup("<div class='text-wrap text-break'>{}</div>").format(getattr(model, name) or "")


def shop(model: Any, _: str, request: Request) -> Markup:
    """The shop's name, as a link to it."""
    if model.shop_id is None:
        return Markup("")
    name = getattr(request.state, "shop_names", {}).get(model.shop_id)
    if name is None:
        return escape(f"{model.shop_id} (deleted)")
    address = request.url_for("admin:details", identity="shop", pk=model.shop_id)
    return Markup("<a href='{}'>{} ({})</a>").format(address, name, model.shop_id)


FORMATTERS: dict[type[Any], Any] = {
    type(None): lambda _: Markup(""),
    bool: lambda value: "yes" if value else "no",
    datetime: moment,
    StrEnum: badge,
    dict: text,
}
