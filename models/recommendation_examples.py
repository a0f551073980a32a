"""Requests for recommendations as /docs offers them to try: one for each main form."""

from __future__ import annotations

from typing import Any

RECOMMENDATION_EXAMPLES: dict[str, dict[str, Any]] = {
    "words": {
        "summary": "Words",
        "value": {"prompt": "A red dress with floral patterns", "number_of_images": 5},
    },
    "like_this_but": {
        "summary": "Like this photo of the shop, but in black",
        "value": {"image_id": 1, "prompt": "but in black"},
    },
    "filters": {
        "summary": "Words among some of the photos, one answer per product, with counts",
        "value": {
            "prompt": "a floral dress",
            "filters": {
                "Category": ["Dresses", "Skirts"],
                "AgeGroup": "Adults",
                "attributes": {"colour": {"any": ["red", "orange"]}},
            },
            "facets": ["Styles", "attributes.colour"],
            "group_by": "product_id",
            "group_size": 3,
        },
    },
    "queries": {
        "summary": "Several things at once, without another",
        "value": {
            "queries": [
                {"image_id": 1, "weight": 2},
                {"image_id": 25},
                {"prompt": "for summer", "weight": 0.5},
            ],
            "negative_prompt": "stripes",
        },
    },
    "page": {
        "summary": "The second page, mixed, and however unlike",
        "value": {
            "prompt": "a red dress",
            "number_of_images": 10,
            "offset": 10,
            "min_score": -1,
            "diversity": 0.3,
        },
    },
}
