"""Filtered, grouped, diversified and paged answers of the real service equal those of the oracle.

The shop's vectors are planted. Their components are multiples of 1/64, so every float32 cosine similarity is
exact, in whatever order it is summed up, and scores can be compared for equality.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import isqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from db import index_versions
from db.embeddings import LITTLE_ENDIAN_FLOAT32
from db.session import Database
from db.vectors import VectorRecord
from models.image import Embedding, Image, ImageStatus
from models.search import PhotoTerms
from tests.oracle import Known, Place, all_places, cosine
from tests.services import make_image
from tests.shop_client import RECOMMENDATIONS, ShopClient
from tests.stack import Stack

UNIT = 64
CROWDS, PHOTOS = 8, 320
PAGE = 40
GROUPED = {"group_by": "product_id", "group_size": 3}
CHEAP = {"attributes": {"price": {"gte": 20, "lt": 70}}}
NARROW = {"Category": [1, 2], "attributes": {"colour": {"any": ["red", "blue"]}}}
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "least score": {"min_score": 0.25},
    "filtered": {"filters": NARROW},
    "grouped": GROUPED,
    "folded": {"diversity": 0},
    "diversified": {"diversity": 0.4},
    "filtered and grouped": {"filters": CHEAP, **GROUPED},
    "filtered, grouped, diversified": {"filters": CHEAP, **GROUPED, "diversity": 0.25},
    "all at once": {"filters": NARROW, **GROUPED, "diversity": 0.7, "min_score": -0.05},
    "without products": {"filters": {"product_id": {"not_in": ["p1", "p2", "p3"]}}, "diversity": 1},
}


@dataclass(frozen=True)
class Planted:
    """What is known of one photo."""

    known: Known
    image: Image

    def matches(self, filters: dict[str, Any]) -> bool:
        attributes, product = self.image.attributes, self.image.product_id
        if filters is CHEAP:
            return 20 <= attributes["price"] < 70
        if filters is NARROW:
            return self.image.category_id in (1, 2) and attributes["colour"] in ("red", "blue")
        return not filters or product not in filters["product_id"]["not_in"]


@dataclass(frozen=True)
class PlantedShop:
    client: ShopClient
    photos: list[Planted]


@pytest.fixture(scope="module")
def planted(stack: Stack) -> PlantedShop:
    client = stack.new_shop()
    database = Database(stack.database_url, connections=1)
    try:
        with database.transaction() as session:
            version = index_versions.live(session)
            assert version is not None
            assert version.id is not None
            dice = np.random.default_rng(4)
            vectors = crowds(dice, version.dimension)
            images = [image_of(dice, client.shop_id) for _ in vectors]
            session.add_all(images)
            session.flush()
            photos = [
                Planted(Known(image.id or 0, image.product_id, vector), image.model_copy())
                for image, vector in zip(images, vectors, strict=True)
            ]
            session.add_all(embedding_of(photo, version.model_key) for photo in photos)
        stack.vectors().upsert(version.id, client.shop_id, [record_of(photo) for photo in photos])
    finally:
        database.close()
    return PlantedShop(client, photos)


def image_of(dice: np.random.Generator, shop_id: int) -> Image:
    product = int(dice.integers(0, 60))
    attributes = {"price": int(dice.integers(1, 100)), "colour": str(dice.choice(["red", "blue", "green"]))}
    return make_image(
        shop_id,
        product_id=f"p{product}" if product else None,
        category_id=int(dice.integers(1, 5)),
        attributes=attributes,
        status=ImageStatus.EMBEDDED,
        embedded_at=datetime.now(UTC),
    )


def embedding_of(photo: Planted, model_key: str) -> Embedding:
    vector = photo.known.vector.astype(LITTLE_ENDIAN_FLOAT32).tobytes()
    sha256 = photo.image.photo_sha256
    return Embedding(image_id=photo.known.image_id, model_key=model_key, photo_sha256=sha256, vector=vector)


def record_of(photo: Planted) -> VectorRecord:
    vector = photo.known.vector.astype(np.float32)
    terms = PhotoTerms(category_id=photo.image.category_id)
    return VectorRecord(photo.known.image_id, vector, photo.image.photo_sha256, terms)


def crowds(dice: np.random.Generator, dimension: int) -> list[NDArray[np.float64]]:
    """Unit vectors that lie together in groups; a third are copies of others, some of them exact."""
    shared = dimension // 2
    middles = [np.rint(dice.normal(size=shared) * 5) for _ in range(CROWDS)]
    vectors: list[NDArray[np.float64]] = []
    while len(vectors) < PHOTOS:
        if vectors and dice.random() < 1 / 3:
            vectors.append(copy_of(vectors[dice.integers(len(vectors))], dice))
            continue
        own = np.rint(dice.normal(size=dimension - shared - 4) * 5)
        start = np.concatenate([middles[dice.integers(CROWDS)], own])
        left = UNIT**2 - int(start @ start)
        if left >= 0:
            vectors.append(np.concatenate([start, four_squares(left)]) / UNIT)
    return [vectors[place] for place in dice.permutation(PHOTOS)]


def copy_of(vector: NDArray[np.float64], dice: np.random.Generator) -> NDArray[np.float64]:
    """None to three signs of small components differ: a cosine similarity of 1 down to about 0.95."""
    small = np.flatnonzero(np.abs(vector * UNIT) <= 5)
    turned = vector.copy()
    turned[dice.choice(small, dice.integers(0, 4), replace=False)] *= -1
    return turned


def four_squares(number: int) -> list[int]:
    """Four integers whose squares add up to it; Lagrange showed that there are."""
    for a in range(isqrt(number), -1, -1):
        for b in range(isqrt(number - a * a), -1, -1):
            for c in range(isqrt(number - a * a - b * b), -1, -1):
                d = isqrt(rest := number - a * a - b * b - c * c)
                if d * d == rest:
                    return [a, b, c, d]
    raise AssertionError(number)


def expected(shop: PlantedShop, query: Planted, fields: dict[str, Any]) -> list[Place]:
    filters = fields.get("filters", {})
    matching = [photo.known for photo in shop.photos if photo is not query and photo.matches(filters)]
    return all_places(
        query.known.vector,
        matching,
        min_score=fields.get("min_score"),
        group_size=fields.get("group_size"),
        diversity=fields.get("diversity"),
    )


def answered(shop: PlantedShop, query: Planted, fields: dict[str, Any], places: int) -> list[Any]:
    """All pages of the answer, the empty one at the end too."""
    found: list[Any] = []
    for offset in range(0, places + PAGE, PAGE):
        asked = {"image_id": query.known.image_id, "number_of_images": PAGE, "offset": offset, **fields}
        answer = shop.client.request("POST", RECOMMENDATIONS, json=asked)
        assert answer.status_code == 200, answer.text
        found += answer.json()["recommendations"]
    return found


@pytest.mark.parametrize("name", REQUESTS)
def test_the_pages_of_an_answer_are_the_oracles(planted: PlantedShop, name: str) -> None:
    query, fields = planted.photos[7], REQUESTS[name]
    wanted = expected(planted, query, fields)
    found = answered(planted, query, fields, len(wanted))
    assert [
        (one["rank"], one["ImageID"], one["score"], variants(one["variants"]), one["near_duplicates"])
        for one in found
    ] == [
        (rank, one.photo.image_id, one.score, scored(planted, query, one.variants), one.near_duplicates)
        for rank, one in enumerate(wanted, start=1)
    ]


def variants(answered: list[Any]) -> list[tuple[int, float]]:
    return [(one["ImageID"], one["score"]) for one in answered]


def scored(shop: PlantedShop, query: Planted, image_ids: list[int]) -> list[tuple[int, float]]:
    vectors = {photo.known.image_id: photo.known.vector for photo in shop.photos}
    return [(image_id, cosine(query.known.vector, vectors[image_id])) for image_id in image_ids]


def test_the_planted_shop_has_what_the_requests_are_about(planted: PlantedShop) -> None:
    """Ties, copies, copies of copies that stay, products and matches in fair numbers."""
    query = planted.photos[7]
    whole = expected(planted, query, {})
    scores = [place.score for place in whole]
    assert len(whole) - len(set(scores)) > 20
    folded = expected(planted, query, {"diversity": 0})
    assert 30 < sum(len(place.near_duplicates) for place in folded) < 120
    assert any(len(place.near_duplicates) > 1 for place in folded)
    narrow = {name: len(expected(planted, query, REQUESTS[name])) for name in ("all at once", "filtered")}
    assert 15 < narrow["all at once"] < narrow["filtered"] < len(whole) / 2
