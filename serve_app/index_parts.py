"""What indexing needs, and the photos that a worker holds by a claim."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from configs.serving import IndexerArgs
from db import work
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from db.work import Claim, ClaimedPhoto
from models.search import TextVector
from serve_app.item_vectors import text_vectors
from serve_app.judge_photos import Judge
from serve_app.photos import ImageGeometry
from serve_app.ports import BulkTextEmbedder, Vector


@dataclass(frozen=True)
class IndexParts:
    """What every kind of work needs; built once per process."""

    database: Database
    vectors: VectorStore
    version_id: int
    model_key: str
    args: IndexerArgs
    judge: Judge


@dataclass(frozen=True)
class IndexingParts(IndexParts):
    """What work on photos' files needs as well."""

    media: MediaStore
    geometry: ImageGeometry
    max_pixels: int


def renewed(parts: IndexParts, claim: Claim, photos: Sequence[ClaimedPhoto]) -> list[ClaimedPhoto]:
    """Those photos that are still ours, their lease prolonged: a task may have waited long for its turn."""
    with parts.database.transaction() as session:
        return held(session, parts, claim, photos)


def held(
    session: Session, parts: IndexParts, claim: Claim, photos: Sequence[ClaimedPhoto]
) -> list[ClaimedPhoto]:
    """The same, and nobody takes the lease over before the transaction ends."""
    ids = [photo.image_id for photo in photos]
    ours = work.renew(session, claim.token, ids, parts.args.lease_s)
    return [photo for photo in photos if photo.image_id in ours]


def texts_of(
    parts: IndexParts, embedder: BulkTextEmbedder, claim: Claim, photos: Sequence[ClaimedPhoto]
) -> dict[int, TextVector]:
    """As ``text_vectors``, under the claim's lease."""

    def hold(session: Session) -> set[int]:
        return {photo.image_id for photo in held(session, parts, claim, photos)}

    return text_vectors(parts.database, parts.model_key, embedder, photos, hold)


def record_of(photo: ClaimedPhoto, vector: Vector) -> VectorRecord:
    """The photo as the index is to have it."""
    return VectorRecord(photo.image_id, vector, photo.photo_sha256, photo.terms)


def by_shop(photos: Sequence[ClaimedPhoto]) -> dict[int, list[ClaimedPhoto]]:
    """The photos of each shop."""
    shops: dict[int, list[ClaimedPhoto]] = defaultdict(list)
    for photo in photos:
        shops[photo.shop_id].append(photo)
    return shops
