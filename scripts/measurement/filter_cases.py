"""Filters that leave few photos, many, and those that a query is least about."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.measurement.clustered import Array, Clustered
from scripts.measurement.stock import Stock

Mask = NDArray[np.bool_]


def cases(stock: Stock, vectors: Clustered, query: Array) -> dict[str, tuple[dict[str, Any] | None, Mask]]:
    """By name: the filters as a client sends them, and which photos (n,) match."""
    categories = np.array([row["category_id"] for row in stock.rows])
    attributes = [row["attributes"] for row in stock.rows]
    opposite = _least_like(vectors, categories, query)
    every: dict[str, tuple[dict[str, Any] | None, Mask]] = {
        "no filter": (None, np.ones(len(stock.ids), bool)),
        "narrow": (
            {"attributes": {"edition": {"equals": "limited"}}},
            np.array(["edition" in one for one in attributes]),
        ),
        "medium: an attribute": (
            {"attributes": {"colour": {"equals": "red"}}},
            np.array([one["colour"] == "red" for one in attributes]),
        ),
        "medium: a range": (
            {"attributes": {"price": {"gte": 20, "lt": 40}}},
            np.array([20 <= one["price"] < 40 for one in attributes]),
        ),
        "broad": (
            {"attributes": {"season": {"any": ["summer"]}}},
            np.array([one["season"] == "summer" for one in attributes]),
        ),
        "least alike category": ({"Category": opposite}, categories == opposite),
    }
    return every


def _least_like(vectors: Clustered, categories: NDArray[Any], query: Array) -> int:
    known = np.unique(categories)
    scores = [float((vectors.photos[categories == one] @ query).mean()) for one in known]
    return int(known[int(np.argmin(scores))])
