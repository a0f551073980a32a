"""What the model noted of a photo, in words for its shop."""

from __future__ import annotations

from typing import Any

from models.image import TERM_COLUMNS, Image
from models.image_api import BetterCategory, CategoryContradicted, NearDuplicate, SuggestedTerm


def suggestions_of(image: Image) -> dict[str, SuggestedTerm]:
    """Marks of terms that are as the model filled them in."""
    return {
        field: SuggestedTerm(confidence=confidence)
        for field, confidence in image.suggestions.items()
        if confidence is not None and getattr(image, TERM_COLUMNS[field]) is not None
    }


def warning_of(kept: dict[str, Any]) -> NearDuplicate | CategoryContradicted:
    """A warning as ``db.photo_warnings.current`` gives it."""
    return _near_duplicate(kept) if kept["code"] == "near_duplicate" else _contradicted(kept)


def _near_duplicate(kept: dict[str, Any]) -> NearDuplicate:
    other, sku = kept["ImageID"], kept["sku"]
    return NearDuplicate(
        code="near_duplicate",
        detail=f"This photo looks the same as photo {other} (sku '{sku}'). If they show one product, give "
        "both the same product_id or delete one; if not, one of them has the wrong photo.",
        ImageID=other,
        sku=sku,
        score=kept["score"],
    )


def _contradicted(kept: dict[str, Any]) -> CategoryContradicted:
    better = BetterCategory(
        id=kept["suggested"], name=kept["suggested_name"], confidence=kept["suggested_confidence"]
    )
    return CategoryContradicted(
        code="category_contradicted",
        detail=f"The category is '{kept['stated_name']}', but the photo looks like '{better.name}' "
        f"(confidence {better.confidence:.2f}, against {kept['confidence']:.2f}). Check Category.",
        Category=kept["Category"],
        confidence=kept["confidence"],
        suggested=better,
    )
