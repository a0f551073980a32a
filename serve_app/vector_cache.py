"""The vectors of photos in memory, for exact search among named photos."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from models.search import Hit, PhotoVersions
from serve_app.ports import Vector

SCORE_DECIMALS = 6
# Single precision places what differs by less in either order.
UNCERTAIN = 1e-5
FIRST_ROWS = 64


class ShopVectors:
    """One shop's vectors by photo and revision, in one matrix. ``lock`` is for the callers."""

    def __init__(self, dimension: int) -> None:
        self.lock = asyncio.Lock()
        self._dimension = dimension
        self.clear()

    def clear(self) -> None:
        """Forget all vectors."""
        self._ids = np.zeros(0, np.int32)  # ascending
        self._revisions = np.zeros(0, np.int32)
        self._slots = np.zeros(0, np.int64)
        self._matrix = np.zeros((0, self._dimension), np.float32)

    @property
    def nbytes(self) -> int:
        """What the vectors take, with the room that is kept for more."""
        return self._matrix.nbytes

    def missing(self, photos: PhotoVersions) -> PhotoVersions:
        """Those whose vector is not here, or an older one."""
        return photos[self._places(photos) < 0]

    def put(self, photos: PhotoVersions, vectors: Vector) -> None:
        """Keep these vectors (n, d); a photo's older one is replaced."""
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
        places = self._places(photos)
        found = np.zeros((len(photos), self._dimension), np.float32)
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
        if rows > len(self._matrix):
            enough = max(rows, FIRST_ROWS, len(self._matrix) * 3 // 2)
            larger = np.zeros((enough, self._dimension), np.float32)
            larger[: len(self._matrix)] = self._matrix
            self._matrix = larger


class VectorCache:
    """Vectors of several shops, ``max_bytes`` in all; the longest unused shop goes first."""

    def __init__(self, dimension: int, max_bytes: int) -> None:
        self._dimension = dimension
        self._max_bytes = max_bytes
        self._shops: OrderedDict[int, ShopVectors] = OrderedDict()

    def of_shop(self, shop_id: int) -> ShopVectors:
        """The shop's vectors, to be used under their lock."""
        shop = self._shops.setdefault(shop_id, ShopVectors(self._dimension))
        self._shops.move_to_end(shop_id)
        return shop

    def make_room(self, shop: ShopVectors, photos: int) -> None:
        """Before ``photos`` are put into ``shop``: drop other shops, or else what ``shop`` holds itself."""
        wanted = photos * self._dimension * np.dtype(np.float32).itemsize
        for shop_id in [shop_id for shop_id, one in self._shops.items() if one is not shop]:
            if self._bytes() + wanted <= self._max_bytes:
                return
            del self._shops[shop_id]
        if self._bytes() + wanted > self._max_bytes:
            shop.clear()

    def _bytes(self) -> int:
        return sum(shop.nbytes for shop in self._shops.values())
