"""Pydantic's findings as sentences for people: one wording, whatever carried the fields here."""

from __future__ import annotations

import re
from typing import Any

_SECRET_FIELD = re.compile(r"key|password|token", re.IGNORECASE)


def sentence(error: Any) -> str:
    """What is wrong with one field, with the value where it is short and no secret."""
    if error["type"] == "extra_forbidden":
        return "This field is not known here. Leave it out, or correct its name."
    if error["type"] == "model_type":
        return "The value must be a JSON object."
    message = str(error["msg"]).removeprefix("Value error, ")
    value = error.get("input")
    shown = isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) <= 60
    if shown and not _SECRET_FIELD.search(str(error["loc"])):
        return f"{message} (got {value!r})"
    return message
