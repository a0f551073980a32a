"""Photos that the search index loses when they are written: looked for, and written again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from configs.serving import CollectionArgs
from db.vectors import VectorRecord, VectorStore
from models.search import Hit
from serve_app.found_entries import upsert_found

RECORDS = [VectorRecord(number, np.eye(4, dtype=np.float32)[number], "sha") for number in range(3)]
PLACE = (1, 2)


class Losing(VectorStore):
    """Finds an entry from its nth write on."""

    def __init__(self, found_from: dict[int, int]) -> None:
        super().__init__("http://nowhere", CollectionArgs())
        self.found_from, self.written = found_from, Counter[int]()

    def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        assert (version_id, shop_id) == PLACE
        self.written.update(record.image_id for record in records)

    def query(self, version_id: int, shop_id: int, vectors: NDArray[np.float32], k: int) -> list[list[Hit]]:
        assert (version_id, shop_id) == PLACE
        asked = [int(vector.argmax()) for vector in vectors]
        own = {one: self.written[one] >= self.found_from.get(one, 1) for one in asked}
        return [[Hit(one if own[one] else 99, 1.0 if own[one] else 0.9)][:k] for one in asked]


@pytest.mark.parametrize(
    ("found_from", "written", "found"),
    [({}, [1, 1, 1], [0, 1, 2]), ({1: 2}, [1, 2, 1], [0, 1, 2]), ({0: 3, 1: 9}, [3, 3, 1], [0, 99, 2])],
)
def test_what_is_not_found_is_written_again_a_few_times(
    found_from: dict[int, int], written: list[int], found: list[int]
) -> None:
    store = Losing(found_from)
    hits = upsert_found(store, PLACE, RECORDS, 5)
    assert [store.written[one] for one in range(3)] == written
    assert [own[0].image_id for own in hits] == found


def test_an_equal_photo_is_as_good() -> None:
    store = Losing({})
    store.query = lambda *_: [[Hit(7, 1 - 1e-7)]] * 3  # type: ignore[method-assign]
    upsert_found(store, PLACE, RECORDS, 5)
    assert set(store.written.values()) == {1}
