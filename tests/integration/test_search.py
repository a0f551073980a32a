"""Filters, facets and rankings against oracles, on real PostgreSQL and real Chroma."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import col, select

from configs.serving import SearchArgs
from db import embeddings, facets, matching, shown_photos
from db.matching import Matching
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.errors import UnknownReference
from models.filter_api import Filters
from models.image import Image, ImageStatus
from models.search import PhotoVersions, VersionRef
from models.taxonomy import AgeGroup, Category, Style
from scripts.measurement.direct_index import DirectIndex, DirectParts
from serve_app.exact_search import ExactSearch
from serve_app.ports import Vector
from serve_app.search import Scored, Search, candidates
from tests import filter_oracle
from tests.fakes import DIMENSION, MODEL
from tests.services import Photos, create_shop, make_image

VERSION = 1901
PHOTOS = 240
DAY = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = {"Category": Category, "Styles": Style, "AgeGroup": AgeGroup}
HOSTILE = ['"; DROP TABLE image; --', "100%s", "$[*] ? (@ > 1)", "{}", "naïve ☃", "\\u0041", " ", "a.b'"]
VALUES: list[Any] = ["red", "Red", "blue", "5", "", True, False, 0, 1, 5, 5.5, -3, 1e20, *HOSTILE]
ALL_BY_SKU = {"sku": {"in": [f"S-{number}" for number in range(PHOTOS)]}}
NAMES = ["colour", "sizes", "price", *HOSTILE]


@dataclass(frozen=True)
class Stocked:
    """A shop whose photos and vectors are known here as well."""

    database: Database
    store: VectorStore
    shop_id: int
    images: list[Image]
    vectors: dict[int, Vector]
    names: filter_oracle.Names

    def parts(self, **args: int) -> DirectParts:
        ref = VersionRef(VERSION, MODEL.key, MODEL.dimension)
        index = DirectIndex(self.store, ref, ExactSearch(self.database, 2**20))
        return DirectParts(self.database, index, SearchArgs(**args), MODEL)

    def save(self, new: dict[int, Vector]) -> None:
        """Vectors into PostgreSQL and Chroma."""
        with self.database.transaction() as session:
            found = session.scalars(select(Image).where(col(Image.id).in_(new)))
            known = {one.id: one.photo_sha256 for one in found if one.id is not None}
            embeddings.save(session, MODEL.key, [(one, known[one], new[one]) for one in new])
        records = [VectorRecord(one, new[one], known[one]) for one in new]
        self.store.upsert(VERSION, self.shop_id, records)
        self.vectors.update(new)

    def matching(self, filters: Filters) -> list[int]:
        found = [one for one in self.images if filter_oracle.matches(one, filters, self.names)]
        return [one.id for one in found if one.id is not None]

    def ranked(self, ids: Sequence[int], query: Vector) -> list[tuple[int, float]]:
        """In double precision, to 6 decimals, equals by id."""
        exact = {one: round(float(self.vectors[one].astype(float) @ query.astype(float)), 6) for one in ids}
        return sorted(exact.items(), key=lambda one: (-one[1], one[0]))


def unit_vectors(seed: int, count: int) -> Vector:
    """(count, DIMENSION): clusters, and every fourth vector a copy of the one before."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(8, DIMENSION))
    found = centres[random.integers(0, 8, count)] + 0.3 * random.normal(size=(count, DIMENSION))
    found[3::4] = found[2::4][: len(found[3::4])]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def some_attributes(random: Random) -> dict[str, Any]:
    def value() -> Any:
        plain, listed = random.choice(VALUES), random.sample(VALUES, random.randint(0, 3))
        return random.choice([plain, plain, listed, None, {"red": 1}, [["red", 5], {"x": 5}, -3]])

    return {name: value() for name in random.sample(NAMES, random.randint(0, 5))}


def some_image(random: Random, number: int, shop_id: int, names: filter_oracle.Names) -> Image:
    terms = {field: random.choice([None, *list(known)[:3]]) for field, known in names.items()}
    embedded = ImageStatus.EMBEDDED if random.random() < 0.9 else ImageStatus.PENDING
    return make_image(
        shop_id,
        sku=f"S-{number}",
        product_id=random.choice([None, f"P-{number // 3}"]),
        category_id=terms["Category"],
        style_id=terms["Styles"],
        age_group_id=terms["AgeGroup"],
        attributes=some_attributes(random),
        created_at=DAY + timedelta(days=random.randint(0, 9)),
        status=embedded,
    )


@pytest.fixture(scope="module")
def stocked(database: Database, vectors: VectorStore) -> Stocked:
    random, shops = Random(19), [create_shop(database), create_shop(database)]
    with database.transaction() as session:
        names = {
            field: {one.id: one.name for one in session.scalars(select(table).order_by(col(table.id)))}
            for field, table in TERMS.items()
        }
        rows = [some_image(random, one, shop, names) for one in range(PHOTOS) for shop in shops]
        session.add_all(rows)
    # The second shop's photos are of no interest but to appear in no answer.
    for shop in shops:
        own = [one for one in rows if one.shop_id == shop]
        found = Stocked(database, vectors, shop, own, {}, names)
        found.save(dict(zip((one.id for one in own), unit_vectors(7, PHOTOS), strict=True)))
    return found


def values() -> st.SearchStrategy[Any]:
    return st.sampled_from(VALUES)


def attribute_filters() -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.sampled_from([-3, 0, 1, 5, 5.5, 1e20, 2**53 + 1])
    lower = st.one_of(st.none(), st.tuples(st.sampled_from(["gte", "gt"]), bounds))
    upper = st.tuples(st.sampled_from(["lte", "lt"]), bounds)
    return st.one_of(
        st.fixed_dictionaries({"equals": values()}),
        st.fixed_dictionaries({"any": st.lists(values(), min_size=1, max_size=8)}),
        st.tuples(lower, upper).map(lambda both: dict(one for one in both if one is not None)),
    )


def lists(prefix: str) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(st.integers(0, PHOTOS).map(lambda number: f"{prefix}-{number}"), min_size=1, max_size=40)
    return st.one_of(
        st.fixed_dictionaries({"in": some}),
        st.fixed_dictionaries({"not_in": some}),
        st.fixed_dictionaries({"in": some, "not_in": some}),
    )


def all_filters(names: filter_oracle.Names) -> st.SearchStrategy[dict[str, Any]]:
    def terms(known: dict[int, str]) -> st.SearchStrategy[Any]:
        few = list(known.items())[:4]
        one = st.sampled_from([*(one for one, _ in few), *(name.upper() for _, name in few)])
        return st.one_of(one, st.lists(one, min_size=1, max_size=3))

    return st.fixed_dictionaries(
        {},
        optional={
            **{field: terms(known) for field, known in names.items()},
            "attributes": st.dictionaries(st.sampled_from(NAMES), attribute_filters(), max_size=2),
            "sku": lists("S"),
            "product_id": lists("P"),
            "created_after": st.integers(-1, 10).map(lambda days: DAY + timedelta(days=days)),
        },
    )


def shown(found: Sequence[Scored]) -> list[tuple[int, float]]:
    return [(one.row.image_id, one.score) for one in found]


async def ask(parts: DirectParts, shop_id: int, filters: Filters, query: Vector, count: int) -> Any:
    found = await candidates(parts, shop_id, filters)
    return shown(await Search(parts, shop_id, query, candidates=found).best(count))


def assert_alike(found: list[tuple[int, float]], wanted: list[tuple[int, float]], count: int) -> None:
    """The index computes in single precision: photos whose scores differ by less may change places."""
    own = dict(wanted)
    assert len(found) == len(dict(found)) == min(count, len(wanted))
    assert [score for _, score in found] == pytest.approx([score for _, score in wanted[:count]], abs=2e-6)
    assert all(own[image_id] == pytest.approx(score, abs=2e-6) for image_id, score in found)


def test_filters_find_what_the_oracle_finds_in_its_order(stocked: Stocked) -> None:
    one_by_one, by_index = stocked.parts(), stocked.parts(exact_photos=2)
    queries = unit_vectors(8, 5)

    @settings(max_examples=80, deadline=None)
    @given(asked=all_filters(stocked.names), number=st.integers(0, 4), count=st.integers(1, 60))
    def check(asked: dict[str, Any], number: int, count: int) -> None:
        filters, query = Filters.model_validate(asked), queries[number]
        wanted = stocked.ranked(stocked.matching(filters), query)
        exact = asyncio.run(ask(one_by_one, stocked.shop_id, filters, query, count))
        with stocked.database.transaction() as session:
            named = bool(asked) and not matching.resolve(session, filters).reads_all
        if named:
            assert exact == wanted[:count]
        assert_alike(exact, wanted, count)
        assert_alike(asyncio.run(ask(by_index, stocked.shop_id, filters, query, count)), wanted, count)

    check()


def test_facets_count_what_the_oracle_counts(stocked: Stocked) -> None:
    asked = [*TERMS, *(f"attributes.{name}" for name in [*NAMES, "nobody has it"])]

    @settings(max_examples=25, deadline=None)
    @given(asked_filters=all_filters(stocked.names))
    def check(asked_filters: dict[str, Any]) -> None:
        filters = Filters.model_validate(asked_filters)
        with stocked.database.transaction() as session:
            wanted = matching.resolve(session, filters)
            found = facets.count(session, stocked.shop_id, wanted, asked)
        left = set(stocked.matching(filters))
        rows = [one for one in stocked.images if one.id in left]
        assert list(found) == asked
        for name, counted in found.items():
            oracle = filter_oracle.counts(rows, name, stocked.names)
            assert {filter_oracle.key(one.value): one.count for one in counted} == oracle
            assert [one.count for one in counted] == sorted((one.count for one in counted), reverse=True)

    check()


def test_deep_pages_are_one_ranking(stocked: Stocked) -> None:
    """Whole, without doubles, however it is cut; equal vectors stand by id."""
    query = unit_vectors(9, 1)[0]
    wanted = stocked.ranked(stocked.matching(Filters()), query)
    assert len({score for _, score in wanted}) < len(wanted)

    async def best(count: int) -> list[tuple[int, float]]:
        return shown(await Search(stocked.parts(), stocked.shop_id, query).best(count))

    assert asyncio.run(best(200)) == wanted[:200]
    assert asyncio.run(best(1100)) == wanted
    for count in (1, 7, 8, 20, 60, 189):
        assert_alike(asyncio.run(best(count)), wanted, count)


def test_photos_to_leave_out_take_no_place(stocked: Stocked) -> None:
    query, filters = unit_vectors(10, 1)[0], Filters.model_validate(ALL_BY_SKU)
    wanted = stocked.ranked(stocked.matching(filters), query)
    without = {image_id for image_id, _ in wanted[:30]}

    async def best(parts: DirectParts) -> list[tuple[int, float]]:
        found = await candidates(parts, stocked.shop_id, filters)
        search = Search(parts, stocked.shop_id, query, candidates=found, without=without)
        return shown(await search.best(10))

    assert asyncio.run(best(stocked.parts())) == wanted[30:40]
    assert_alike(asyncio.run(best(stocked.parts(exact_photos=2))), wanted[30:], 10)


def test_a_products_photos_come_with_their_scores(stocked: Stocked) -> None:
    query, filters = unit_vectors(11, 1)[0], Filters.model_validate(ALL_BY_SKU)
    products = {"P-3", "P-4", "P-5", "nobody's"}
    own = {one.id for one in stocked.images if one.product_id in products}
    wanted = [one for one in stocked.ranked(stocked.matching(filters), query) if one[0] in own]

    async def of_products(products: set[str]) -> list[tuple[int, float]]:
        parts = stocked.parts()
        found = await candidates(parts, stocked.shop_id, filters)
        return shown(await Search(parts, stocked.shop_id, query, candidates=found).of_products(products))

    assert asyncio.run(of_products(products)) == wanted != []
    assert asyncio.run(of_products(set())) == []


@pytest.mark.parametrize("unknown", ["No such", 2**31 - 1, "' OR 1=1 --"])
@pytest.mark.parametrize("field", TERMS)
def test_a_term_that_does_not_exist_is_named(database: Database, field: str, unknown: int | str) -> None:
    filters = Filters.model_validate({field: [1, unknown]})
    with database.transaction() as session, pytest.raises(UnknownReference) as error:
        matching.resolve(session, filters)
    assert error.value.pointer == f"/filters/{field}/1"
    assert str(unknown) in error.value.message
    assert "GET /api/" in error.value.message


def test_what_was_kept_in_memory_is_never_out_of_date(
    database: Database, vectors: VectorStore, photos: Photos
) -> None:
    """A photo that gets a new vector, one that is deleted and one that is new, between queries."""
    old = unit_vectors(12, 6)
    stock = Stocked(database, vectors, photos.shop_id, [], {}, {})
    ids = photos.add(6, status=ImageStatus.EMBEDDED, attributes={"kept": True})
    stock.save(dict(zip(ids, old, strict=True)))
    parts, query = stock.parts(), old[0]
    filters = Filters.model_validate({"attributes": {"kept": {"equals": True}}})

    def answer() -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = asyncio.run(ask(parts, photos.shop_id, filters, query, 10))
        return found

    assert answer() == stock.ranked(ids, query)
    photos.change(lambda image: setattr(image, "status", ImageStatus.PENDING), ids[0])
    assert answer() == stock.ranked(ids[1:], query)
    embedded_anew(stock, ids[0], -old[0])
    assert answer() == stock.ranked(ids, query)
    photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), ids[1])
    (new,) = photos.add(status=ImageStatus.EMBEDDED, attributes={"kept": True})
    stock.save({new: old[0]})
    assert answer() == stock.ranked([ids[0], *ids[2:], new], query)


def embedded_anew(stock: Stocked, image_id: int, vector: Vector) -> None:
    """As the Indexer does it."""
    stock.save({image_id: vector})
    with stock.database.transaction() as session:
        row = session.get_one(Image, image_id)
        row.status, row.vector_revision = ImageStatus.EMBEDDED, row.vector_revision + 1


def test_rows_come_in_the_order_of_their_ids_list(stocked: Stocked) -> None:
    ids = [one.id for one in stocked.images if one.id is not None and one.status is ImageStatus.EMBEDDED]
    wanted = [*reversed(ids), 2**31 - 1]
    with stocked.database.transaction() as session:
        conditions = matching.conditions(stocked.shop_id, Matching())
        assert [row.image_id for row in shown_photos.in_order(session, conditions, wanted, 50)] == wanted[:50]
        assert shown_photos.in_order(session, conditions, [], 50) == []
        found = matching.versions(session, stocked.shop_id, Matching(), len(ids))
        assert found is not None
        assert sorted(found.ids.tolist()) == ids
        assert matching.versions(session, stocked.shop_id, Matching(), len(ids) - 1) is None


def test_vectors_of_named_photos(stocked: Stocked) -> None:
    known = sorted(stocked.matching(Filters()))[:5]
    named = PhotoVersions(np.array([*known, 2**31 - 1], np.int32), np.zeros(6, np.int32))
    found = asyncio.run(stocked.parts().index.vectors(stocked.shop_id, named))
    np.testing.assert_array_equal(found[:5], np.stack([stocked.vectors[one] for one in known]))
    assert not found[5].any()
