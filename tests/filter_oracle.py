"""What filters and facets mean, in plain Python: the rows decide one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from models.filter_api import AttributeFilter, Filters, ListFilter
from models.image import Image, ImageStatus

Names = dict[str, dict[int, str]]


def matches(image: Image, filters: Filters, names: Names) -> bool:
    """``names``: those of the terms, by field and id."""
    return (
        image.status is ImageStatus.EMBEDDED
        and _term(image.category_id, filters.Category, names["Category"])
        and _term(image.style_id, filters.Styles, names["Styles"])
        and _term(image.age_group_id, filters.AgeGroup, names["AgeGroup"])
        and all(_attribute(image.attributes, name, one) for name, one in filters.attributes.items())
        and _listed(image.sku, filters.sku)
        and _listed(image.product_id, filters.product_id)
        and (filters.created_after is None or image.created_at > filters.created_after)  # type: ignore[operator]
    )


def counts(images: Sequence[Image], facet: str, names: Names) -> Counter[Any]:
    """How many of the images have each value, by its ``key``."""
    found: Counter[Any] = Counter()
    for image in images:
        value = _value(image, facet, names)
        elements = value if isinstance(value, list) else [value]
        plain = {key(one) for one in elements if isinstance(one, str | bool | int | float)}
        found.update({key(None)} if value is None or value == [] else plain)
    return found


def key(value: Any) -> Any:
    """Equal for equal JSON values: true is not 1, 1 is 1.0."""
    return type(value) is bool, value


def _value(image: Image, facet: str, names: Names) -> Any:
    terms = {"Category": image.category_id, "Styles": image.style_id, "AgeGroup": image.age_group_id}
    if facet not in terms:
        return image.attributes.get(facet.removeprefix("attributes."))
    term_id = terms[facet]
    return None if term_id is None else names[facet][term_id]


def _term(term_id: int | None, wanted: list[int | str] | None, names: dict[int, str]) -> bool:
    if wanted is None:
        return True
    name = None if term_id is None else names[term_id].lower()
    return any(one == term_id if isinstance(one, int) else one.lower() == name for one in wanted)


def _listed(value: str | None, wanted: ListFilter | None) -> bool:
    if wanted is None:
        return True
    within = wanted.within is None or value in wanted.within
    return within and (wanted.not_in is None or value not in wanted.not_in)


def _attribute(attributes: dict[str, Any], name: str, wanted: AttributeFilter) -> bool:
    value = attributes.get(name)
    elements = value if isinstance(value, list) else [value]
    if wanted.bounds:
        numbers = [one for one in elements if isinstance(one, int | float) and not isinstance(one, bool)]
        return any(_within(number, wanted) for number in numbers)
    values = [wanted.equals] if wanted.any is None else wanted.any
    return any(
        key(one) == key(other) for one in elements for other in values if not isinstance(one, dict | list)
    )


def _within(number: float, wanted: AttributeFilter) -> bool:
    return (
        (wanted.gte is None or number >= wanted.gte)
        and (wanted.gt is None or number > wanted.gt)
        and (wanted.lte is None or number <= wanted.lte)
        and (wanted.lt is None or number < wanted.lt)
    )
