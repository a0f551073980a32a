"""Photos of any shop, as staff bring them back into the index. Each action is audited in its transaction."""

from __future__ import annotations

from sqlalchemy.orm import Session

from db import audit, images
from models.image import ImageStatus
from models.staff import Staff

REINDEXED = (ImageStatus.EMBEDDED, ImageStatus.FAILED)


def retry_photo(session: Session, staff: Staff, image_id: int) -> bool:
    """Queue a failed photo again; false where it did not fail."""
    return _requeue(session, staff, image_id, (ImageStatus.FAILED,), "photo.retry")


def reindex_photo(session: Session, staff: Staff, image_id: int) -> bool:
    """Write its vector, stored or computed anew, to the index again; false where it is queued or going."""
    return _requeue(session, staff, image_id, REINDEXED, "photo.reindex")


def _requeue(
    session: Session, staff: Staff, image_id: int, before: tuple[ImageStatus, ...], action: str
) -> bool:
    status = images.requeue(session, image_id, before)
    if status is None:
        return False
    audit.record(session, staff, action, image_id, before=status, after=ImageStatus.PENDING)
    return True
