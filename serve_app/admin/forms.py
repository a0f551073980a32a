"""Forms: the request models of the use cases have the last word on every value."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from wtforms import Form, IntegerField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from db.images import MAX_ID
from models.errors import InvalidInput

Fields = TypeVar("Fields", bound=BaseModel)
LOOK = {"class": "form-control"}
LIMIT = {
    "validators": [Optional(), NumberRange(1, MAX_ID)],
    "description": "Empty: the configuration's.",
    "render_kw": LOOK,
}


class ShopForm(Form):
    """What staff may change of a shop."""

    name = StringField("Name", validators=[InputRequired(), Length(1, 250)], render_kw=LOOK)
    requests_per_minute = IntegerField("Requests per minute", **LIMIT)
    prompts_per_day = IntegerField("Prompts per day", **LIMIT)
    max_photos = IntegerField("Photos", **LIMIT)


class TermForm(Form):
    """A category, style or age group."""

    name = StringField("Name", validators=[InputRequired(), Length(1, 250)], render_kw=LOOK)
    description = TextAreaField("Description", validators=[Length(0, 1000)], render_kw=LOOK)


def checked(kind: type[Fields], data: dict[str, Any]) -> Fields:
    """The form's values as a use case takes them. Raises InvalidInput."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        message = str(first["msg"]).removeprefix("Value error, ")
        raise InvalidInput(f"{field}: {message}" if field else message) from None
