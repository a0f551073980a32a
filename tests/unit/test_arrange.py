"""Pages of answers against an oracle, on vectors whose cosine similarities are exact."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.shown_photos import ShownPhoto
from models.recommendation_api import RecommendationRequest
from serve_app import arrange as module
from serve_app.arrange import Arranged, arrange
from serve_app.ports import Vector
from serve_app.ranking import diversify, fold
from serve_app.search import Scored
from tests.oracle import Known, Place, Rules, all_places, cosine

DIMENSION = 16
# A sign that differs takes 1/8 off the cosine similarity.
RULES = Rules(near_duplicate_score=0.75, pool_places=5, pool_walked=12, depth=24)
GROUPED = {"group_by": "product_id"}


def signs(mask: int) -> Vector:
    """(16,) unit length: the bits of ``mask`` as signs."""
    bits = (mask >> np.arange(DIMENSION)) & 1
    return ((bits * 2 - 1) / 4).astype(np.float32)


@dataclass
class ListedPhotos:
    """A Search over photos that are given; ``deepest`` is the longest ranking that was asked for."""

    query: Vector
    photos: Sequence[Known]
    deepest: int = 0
    vectors_read: int = 0

    async def best(self, count: int) -> list[Scored]:
        self.deepest = max(self.deepest, count)
        return self._ranked[:count]

    async def of_products(self, product_ids: Collection[str]) -> list[Scored]:
        return [one for one in self._ranked if one.row.product_id in product_ids]

    async def vectors(self, rows: Sequence[ShownPhoto]) -> Vector:
        self.vectors_read += len(rows)
        known = {photo.image_id: photo.vector for photo in self.photos}
        return np.stack([known[row.image_id] for row in rows])

    @cached_property
    def _ranked(self) -> list[Scored]:
        found = [
            Scored(row_of(one.image_id, one.product_id), cosine(self.query, one.vector))
            for one in self.photos
        ]
        return sorted(found, key=lambda one: (-one.score, one.row.image_id))


def row_of(image_id: int, product_id: str | None) -> ShownPhoto:
    unknown: Any = dict.fromkeys(ShownPhoto._fields)
    return ShownPhoto(**unknown | {"image_id": image_id, "product_id": product_id})


def page(search: ListedPhotos, rules: Rules = RULES, **fields: Any) -> list[Arranged]:
    request = RecommendationRequest(prompt="A dress", **fields)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "POOL_PLACES", rules.pool_places)
        patch.setattr(module, "POOL_WALKED", rules.pool_walked)
        patch.setattr(module, "MAX_DEPTH", rules.depth)
        arranged = arrange(
            search,  # type: ignore[arg-type]
            request,
            request.number_of_images,
            request.min_score,
            rules.near_duplicate_score,
        )
        return asyncio.run(arranged)


def as_expected(places: Sequence[Place], offset: int) -> list[tuple[Any, ...]]:
    return [
        (rank, one.photo.image_id, one.score, one.variants, one.near_duplicates)
        for rank, one in enumerate(places, start=offset + 1)
    ]


def as_answered(places: Sequence[Arranged]) -> list[tuple[Any, ...]]:
    return [
        (
            one.rank,
            one.photo.row.image_id,
            one.photo.score,
            [other.row.image_id for other in one.variants],
            list(one.near_duplicates),
        )
        for one in places
    ]


def unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def crowd(seed: int, count: int, product_count: int) -> list[Known]:
    """Photos of few signs and products: equal scores, copies and copies of copies are common."""
    dice = np.random.default_rng(seed)
    masks = [
        int(sum(1 << bit for bit in set(dice.integers(0, 6, dice.integers(0, 5))))) for _ in range(count)
    ]
    products = [None if number == 0 else f"p{number}" for number in dice.integers(0, product_count, count)]
    ids = dice.permutation(count).tolist()
    return [
        Known(image_id + 1, product, signs(mask))
        for image_id, product, mask in zip(ids, products, masks, strict=True)
    ]


@settings(max_examples=150, deadline=None)
@given(
    photos=st.builds(crowd, st.integers(0, 999), st.integers(15, 45), st.integers(1, 20)),
    query=st.one_of(st.integers(0, 63).map(signs), st.integers(0, 99).map(unit)),
    group_size=st.sampled_from([None, 1, 3]),
    diversity=st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.3, 0.9, 1.0]), st.floats(0, 1)),
    min_score=st.sampled_from([None, 0.0, 0.5, 0.625]),
    offset=st.sampled_from([0, 1, 3, 6, 10, 50]),
    count=st.sampled_from([1, 4, 15, 30]),
)
def test_every_page_is_a_slice_of_the_oracles_answer(
    photos: list[Known],
    query: Vector,
    group_size: int | None,
    diversity: float | None,
    min_score: float | None,
    offset: int,
    count: int,
) -> None:
    whole = all_places(
        query, photos, min_score=min_score, group_size=group_size, diversity=diversity, rules=RULES
    )
    grouping = {"group_size": 3} if group_size is None else GROUPED | {"group_size": group_size}
    answered = page(
        ListedPhotos(query, photos),
        **grouping,
        diversity=diversity,
        min_score=min_score,
        offset=offset,
        number_of_images=count,
    )
    assert as_answered(answered) == as_expected(whole[offset : offset + count], offset)


def shop_of(count: int, products: int = 0, seed: int = 0) -> list[Known]:
    """Photos with vectors by lot, in turn of so many products; 0: without a product."""
    dice = np.random.default_rng(seed)
    vectors = dice.normal(size=(count, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Known(number + 1, f"product {number % products}" if products else None, vector.astype(np.float32))
        for number, vector in enumerate(vectors)
    ]


def test_a_plain_request_reads_its_page_and_no_vectors() -> None:
    search = ListedPhotos(unit(0), shop_of(50))
    assert len(page(search, number_of_images=5)) == 5
    assert (search.deepest, search.vectors_read) == (5, 0)


def test_a_diversified_page_reads_the_pool_and_no_more() -> None:
    search = ListedPhotos(unit(0), shop_of(600))
    rules = Rules(pool_places=100)
    assert len(page(search, rules, number_of_images=5, diversity=0.4)) == 5
    assert search.deepest == search.vectors_read == 125


def test_pages_put_together_are_the_long_answer_with_the_real_limits() -> None:
    copies = [Known(1000 + one.image_id, one.product_id, one.vector) for one in shop_of(300, 90)[::3]]
    search = ListedPhotos(unit(1), shop_of(300, 90) + copies)
    whole = all_places(search.query, search.photos, diversity=0.3)
    assert len(whole) == 400 - len([place for place in whole if place.near_duplicates])
    found = [
        one
        for offset in range(0, 330, 66)
        for one in page(search, Rules(), number_of_images=66, offset=offset, diversity=0.3)
    ]
    assert as_answered(found) == as_expected(whole[:330], 0)


def test_variants_are_found_however_far_below_they_rank() -> None:
    search = ListedPhotos(unit(2), shop_of(400, 40))
    answered = page(search, Rules(), number_of_images=3, **GROUPED, group_size=10)
    assert [len(one.variants) for one in answered] == [9, 9, 9]
    assert as_answered(answered) == as_expected(all_places(search.query, search.photos, group_size=10)[:3], 0)


def test_what_scores_too_little_is_no_variant_either() -> None:
    query, near, far = signs(0b0), signs(0b1), signs(0b111)
    search = ListedPhotos(query, [Known(1, "a", query), Known(2, "a", near), Known(3, "a", far)])
    fields = {**GROUPED, "group_size": 3, "min_score": cosine(query, near)}
    assert as_answered(page(search, **fields)) == [(1, 1, 1.0, [2], [])]


def test_nothing_is_the_answer_of_a_shop_without_photos() -> None:
    for fields in ({}, GROUPED, {"diversity": 0.5}, {**GROUPED, "diversity": 0.5, "offset": 10}):
        assert page(ListedPhotos(unit(0), []), **fields) == []


def test_grouping_reads_deeper_until_enough_products_are_found() -> None:
    flood = [Known(number, "flood", unit(3)) for number in range(1, 501)]
    search = ListedPhotos(unit(3), [*flood, *(Known(900 + n, None, -unit(n)) for n in range(4))])
    answered = page(search, Rules(), number_of_images=4, **GROUPED)
    assert [one.photo.row.product_id for one in answered] == ["flood", None, None, None]
    assert not any(one.variants for one in answered)


def test_a_product_may_have_the_number_of_a_photo_as_its_name() -> None:
    search = ListedPhotos(unit(4), [Known(7, None, unit(4)), Known(8, "7", unit(4))])
    assert len(page(search, **GROUPED)) == 2


def test_a_copy_of_a_copy_that_is_none_of_the_kept_stays() -> None:
    kept, near, far = signs(0b0), signs(0b1), signs(0b111)
    assert cosine(kept, near) >= RULES.near_duplicate_score > cosine(kept, far)
    assert cosine(near, far) >= RULES.near_duplicate_score
    search = ListedPhotos(kept, [Known(1, None, kept), Known(2, None, near), Known(3, None, far)])
    answered = page(search, diversity=0)
    assert [(one.photo.row.image_id, one.near_duplicates) for one in answered] == [(1, (2,)), (3, ())]


def test_copies_fold_whichever_way_their_product_was_rounded() -> None:
    photos = shop_of(50)
    vectors = np.stack([one.vector for one in photos] * 2)
    folding = fold(vectors, 1.0, 100)
    assert folding.kept == list(range(50))
    assert folding.copies == [[50 + number] for number in range(50)]


def test_of_equal_relevance_the_better_ranked_comes_next() -> None:
    """0.9 · 0.3 - 0.1 · 0.9 and 0.9 · 0.2 - 0.1 · 0 are 0.18 both, but not as floating-point numbers."""
    cosines = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert 0.9 * 0.3 - 0.1 * 0.9 != 0.9 * 0.2
    assert diversify(np.array([0.4, 0.3, 0.2]), cosines, 0.1) == [0, 1, 2]
