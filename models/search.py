"""What embedding and searching answer with, before any row is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """``vector``: (d,) float32, unit length. ``truncated``: the prompt exceeded the model's token limit."""

    vector: NDArray[np.float32]
    truncated: bool


class TextVector(NamedTuple):
    """``vector``: (d,) float32, unit length, of the text with this SHA-256."""

    sha256: str
    vector: NDArray[np.float32]


class PhotoTerms(NamedTuple):
    """The ids of a photo's terms: what the search index keeps beside its vector."""

    category_id: int | None = None
    style_id: int | None = None
    age_group_id: int | None = None


NO_TERMS = PhotoTerms()


@dataclass(frozen=True, slots=True)
class PhotoVersions:
    """Photos with the revision of their vector, so that it is known which vector of each is meant.

    ``ids`` (n,) and ``revisions`` (n,) are int32.
    """

    ids: NDArray[np.int32]
    revisions: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> PhotoVersions:
        return PhotoVersions(self.ids[part], self.revisions[part])


class VersionRef(NamedTuple):
    """Which index version is meant; ``dimension``: the length of its model's vectors."""

    version_id: int
    model_key: str
    dimension: int


class Hit(NamedTuple):
    """One photo that a query found; ``score`` is the cosine similarity, in [-1, 1]."""

    image_id: int
    score: float
