"""Which photos may answer, as clients say it: typed fields, never an operator of index or database."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from models.moments import in_utc
from models.texts import storable_text

MAX_VALUES = 100
MAX_ATTRIBUTE_FILTERS = 20
MAX_INTEGER = 10**18


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


def _either(expected: str) -> WrapValidator:
    """One error at the value itself; Pydantic has one for each member of a union, below the value."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"must be {expected}") from None

    return WrapValidator(validate)


def _with_date(value: Any) -> Any:
    """Pydantic takes numbers, "2026" too, for seconds since 1970."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.match("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return value
    raise ValueError("must be a time with a zone, like 2026-01-31T00:00:00Z")


Id = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=250, strict=True),
    AfterValidator(storable_text),
]
Term = Annotated[Id | Name, _either("an id, or a name of 1 to 250 characters without NUL")]
Terms = Annotated[
    Annotated[list[Term], Field(min_length=1, max_length=MAX_VALUES)] | None,
    BeforeValidator(_as_list),
    Field(description="Ids or names, one or a list; a photo with any of them matches."),
]
Texts = Annotated[list[Name], Field(min_length=1, max_length=1000)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Integer = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Text = Annotated[str, StringConstraints(max_length=1000, strict=True), AfterValidator(storable_text)]
Scalar = Annotated[
    Text | bool | Integer | Finite,
    _either("a text of up to 1,000 characters without NUL, a finite number or a boolean"),
]
AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=250), AfterValidator(storable_text)]
Moment = Annotated[AwareDatetime, BeforeValidator(_with_date), AfterValidator(in_utc)]


class Closed(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class AttributeFilter(Closed):
    """``equals`` one value, ``any`` of several, or a range of numbers; an attribute that is a list matches
    with any of its elements."""

    equals: Scalar | None = None
    any: Annotated[list[Scalar], Field(min_length=1, max_length=MAX_VALUES)] | None = None
    gte: Finite | None = None
    gt: Finite | None = None
    lte: Finite | None = None
    lt: Finite | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        bounds = self.bounds
        kinds = [self.equals is not None, self.any is not None, bool(bounds)]
        if sum(kinds) != 1:
            raise ValueError("give exactly one of: equals; any; a range of gte, gt, lte, lt")
        if {"gte", "gt"} <= bounds.keys() or {"lte", "lt"} <= bounds.keys():
            raise ValueError("give at most one lower bound (gte or gt) and one upper bound (lte or lt)")
        return self

    @property
    def bounds(self) -> dict[str, float]:
        """The given ones of gte, gt, lte, lt."""
        given = {"gte": self.gte, "gt": self.gt, "lte": self.lte, "lt": self.lt}
        return {name: value for name, value in given.items() if value is not None}


class ListFilter(Closed):
    """Those that are in ``in``, if given, and not in ``not_in``."""

    within: Texts | None = Field(default=None, alias="in")
    not_in: Texts | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.within is None and self.not_in is None:
            raise ValueError("give 'in', 'not_in' or both")
        return self


class Filters(Closed):
    """All that are given must hold."""

    Category: Terms = None
    Styles: Terms = None
    AgeGroup: Terms = None
    attributes: Annotated[dict[AttributeName, AttributeFilter], Field(max_length=MAX_ATTRIBUTE_FILTERS)] = (
        Field(default_factory=dict)
    )
    sku: ListFilter | None = None
    product_id: ListFilter | None = Field(
        default=None, description="A photo without a product_id is in no list."
    )
    created_after: Moment | None = Field(default=None, description="Uploaded later than this.")
