"""The vectors of photos in memory, for exact search among named photos."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from models.search import Hit, PhotoVersions, VersionRef
from serve_app.ports import Vector

SCORE_DECIMALS = 6
# Single precision places what differs by less in either order.
UNCERTAIN = 1e-5
FIRST_ROWS = 64
IDLE_S = 600.0


class ShopVectors:
    """One shop's vectors in one index version, by photo and revision, in one matrix.

    Beyond ``max_rows`` no room is kept for more.

    ``lock`` is for the callers. A caller that is cancelled gives it up while its thread still works here, so
    each method holds a lock of its own as well.
    """

    def __init__(self, dimension: int, max_rows: int) -> None:
        self.lock = asyncio.Lock()
        self.used_at = time.monotonic()
        self._own = Lock()
        self._dimension = dimension
        self._max_rows = max_rows
        self.clear()

    def clear(self) -> None:
        """Forget all vectors."""
        with self._own:
            self._ids = np.zeros(0, np.int32)  # ascending
            self._revisions = np.zeros(0, np.int32)
            self._slots = np.zeros(0, np.int64)
            self._matrix = np.zeros((0, self._dimension), np.float32)
            self._expected_rows = 0

    @property
    def nbytes(self) -> int:
        """What the vectors take, with the room that is kept for more and for those that are expected."""
        return self._bytes(max(len(self._matrix), self._expected_rows))

    def nbytes_with(self, photos: int) -> int:
        """The same once so many more are kept."""
        return self._bytes(self._rows_for(len(self._ids) + photos))

    def expect(self, photos: int) -> None:
        """So many more are to come."""
        self._expected_rows = self._rows_for(len(self._ids) + photos)

    def missing(self, photos: PhotoVersions) -> PhotoVersions:
        """Those whose vector is not here, or an older one."""
        with self._own:
            return photos[self._places(photos) < 0]

    def put(self, photos: PhotoVersions, vectors: Vector) -> None:
        """Keep these vectors (n, d); a photo's older one is replaced."""
        with self._own:
            self._put(photos, vectors)

    def _put(self, photos: PhotoVersions, vectors: Vector) -> None:
        known = self._places(PhotoVersions(photos.ids, np.zeros_like(photos.revisions)))
        old, new = known >= 0, known < 0
        self._matrix[self._slots[known[old]]] = vectors[old]
        self._revisions[known[old]] = photos.revisions[old]
        used = len(self._ids)
        self._make_room(used + int(new.sum()))
        slots = np.arange(used, used + int(new.sum()))
        self._matrix[slots] = vectors[new]
        ids = np.concatenate([self._ids, photos.ids[new]])
        order = np.argsort(ids)
        self._ids = ids[order]
        self._revisions = np.concatenate([self._revisions, photos.revisions[new]])[order]
        self._slots = np.concatenate([self._slots, slots])[order]

    def nearest(self, vector: Vector, photos: PhotoVersions, k: int) -> list[Hit]:
        """The ``k`` of the photos with the highest cosine similarity, to 6 decimals; equals by rising id.

        Single precision finds those that may be among them, double precision ranks them: so equal vectors
        have equal scores, whatever row they lie in.
        """
        with self._own:
            return self._nearest(vector, photos, k)

    def _nearest(self, vector: Vector, photos: PhotoVersions, k: int) -> list[Hit]:
        places = self._places(photos)
        places = places[places >= 0]
        if not len(places) or k < 1:
            return []
        slots, ids = self._slots[places], self._ids[places]
        scores = self._approximate_scores(vector, slots)
        if k < len(scores):
            cut = np.partition(scores, -k)[-k]
            close = scores >= cut - UNCERTAIN
            slots, ids = slots[close], ids[close]
        exact = np.round(self._matrix[slots].astype(np.float64) @ vector.astype(np.float64), SCORE_DECIMALS)
        best = np.lexsort((ids, -exact))[:k]
        return [Hit(*one) for one in zip(ids[best].tolist(), exact[best].tolist(), strict=True)]

    def take(self, photos: PhotoVersions) -> Vector:
        """The vectors (n, d); zeros where there is none."""
        found = np.zeros((len(photos), self._dimension), np.float32)
        with self._own:
            places = self._places(photos)
            found[places >= 0] = self._matrix[self._slots[places[places >= 0]]]
        return found

    def _approximate_scores(self, vector: Vector, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        # Reading all in a row is faster than picking most of them.
        all_in_a_row = 2 * len(slots) > len(self._ids)
        rows = self._matrix[: len(self._ids)] if all_in_a_row else self._matrix[slots]
        scores: NDArray[np.float32] = np.einsum("ij,j->i", rows, vector)
        return scores[slots] if all_in_a_row else scores

    def _places(self, photos: PhotoVersions) -> NDArray[np.int64]:
        """Where each photo's vector, of that revision or a later one, stands in the ids; -1: nowhere."""
        if not len(self._ids):
            return np.full(len(photos), -1, np.int64)
        places = np.minimum(np.searchsorted(self._ids, photos.ids), len(self._ids) - 1)
        found = (self._ids[places] == photos.ids) & (self._revisions[places] >= photos.revisions)
        return np.where(found, places, -1)

    def _make_room(self, rows: int) -> None:
        enough = self._rows_for(rows)
        if enough > len(self._matrix):
            larger = np.zeros((enough, self._dimension), np.float32)
            larger[: len(self._matrix)] = self._matrix
            self._matrix = larger

    def _rows_for(self, rows: int) -> int:
        if rows <= len(self._matrix):
            return len(self._matrix)
        return max(rows, min(self._max_rows, max(FIRST_ROWS, len(self._matrix) * 3 // 2)))

    def _bytes(self, rows: int) -> int:
        return rows * self._dimension * self._matrix.itemsize


class VectorCache:
    """Vectors of several shops and index versions, ``max_bytes`` in all; the longest unused go first.

    What nobody used for ten minutes goes at the next use of another: its shop or version may be deleted by
    now.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._shops: OrderedDict[tuple[int, int], ShopVectors] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """What all shops hold or expect."""
        return sum(shop.nbytes for shop in self._shops.values())

    def of_shop(self, ref: VersionRef, shop_id: int) -> ShopVectors:
        """The shop's vectors in that version, to be used under their lock."""
        key = ref.version_id, shop_id
        shop = self._shops.get(key)
        if shop is None:
            max_rows = self._max_bytes // (ref.dimension * np.dtype(np.float32).itemsize)
            shop = self._shops[key] = ShopVectors(ref.dimension, max_rows)
        shop.used_at = time.monotonic()
        self._shops.move_to_end(key)
        while (oldest := next(iter(self._shops.items())))[1].used_at < shop.used_at - IDLE_S:
            del self._shops[oldest[0]]
        return shop

    def make_room(self, shop: ShopVectors, photos: PhotoVersions) -> PhotoVersions:
        """Before photos are asked of ``shop``: drop other shops, or else what ``shop`` holds itself.

        Returns those that are missing then. They count from now on, so that shops that are loaded at once do
        not all take the same room.
        """
        missing = shop.missing(photos)
        wanted = shop.nbytes_with(len(missing))
        others = {key: one for key, one in self._shops.items() if one is not shop}
        used = sum(one.nbytes for one in others.values())
        for key, one in others.items():
            if used + wanted <= self._max_bytes:
                break
            del self._shops[key]
            used -= one.nbytes
        if used + wanted > self._max_bytes:
            shop.clear()
            missing = photos
        shop.expect(len(missing))
        return missing
