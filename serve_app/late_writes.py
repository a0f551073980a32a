"""Take out of the search index what a worker wrote too late: nobody else would look for it there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from db.late_writes import Late
from db.vectors import VectorStore
from db.work import ClaimedPhoto


def take_out(vectors: VectorStore, version_ids: Iterable[int], late: Late) -> None:
    """Of these versions. Ids are never used again and closed shops stay closed, so it may be repeated."""
    for version_id in version_ids:
        for shop_id, image_ids in late.gone.items():
            vectors.delete(version_id, shop_id, image_ids)
        for shop_id in late.closed:
            vectors.drop(version_id, shop_id)


def shops_of(photos: Sequence[ClaimedPhoto]) -> dict[int, int]:
    """Each photo's shop, by image id."""
    return {photo.image_id: photo.shop_id for photo in photos}
