"""Which photos may answer, as clients say it: typed fields, never an operator of index or database."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from models.texts import storable_text, texts_in

MAX_VALUES = 100
MAX_ATTRIBUTE_FILTERS = 20
MAX_INTEGER = 10**18


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


Id = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=250, strict=True)]
Terms = Annotated[
    Annotated[list[Id | Name], Field(min_length=1, max_length=MAX_VALUES)] | None,
    BeforeValidator(_as_list),
    Field(description="Ids or names, one or a list; a photo with any of them matches."),
]
Texts = Annotated[list[Name], Field(min_length=1, max_length=1000)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Integer = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Scalar = Annotated[str, StringConstraints(max_length=1000, strict=True)] | bool | Integer | Finite
AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=250)]


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


class ListFilter(BaseModel):
    """Those that are in ``in``, if given, and not in ``not_in``."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

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
    created_after: AwareDatetime | None = None

    @model_validator(mode="after")
    def _storable(self) -> Self:
        for text in texts_in(self.model_dump()):
            storable_text(text)
        return self
