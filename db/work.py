"""The durable queue of photos to embed, to delete and to describe anew: leases on rows of ``image``.

A lease is a token and a time limit, both of the database's clock. Only the token's holder may finish a row;
whoever finds its token gone discards what it computed. Nothing here is lost or done twice when a worker
dies: the lease runs out and the row is claimed again.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import case, delete, func, null, or_, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db import index_versions, text_weights
from db.open_shops import lock_not_deleting
from db.turns import Waiting, candidates, shops_with_work, single_candidates
from models.errors import DependencyUnavailable
from models.image import Image, ImageStatus
from models.search import NO_TERMS, PhotoTerms
from models.shop import Shop, ShopStatus

MAX_ERROR_CHARACTERS = 1000
SUSPECT_ATTEMPTS = 2  # one death of a worker says little of the photos that it held


@dataclass(frozen=True)
class ClaimedPhoto:
    """What a worker has to know of one photo; terms and text are those of ``metadata_revision``.

    ``text_weight`` is the shop's, ``item_weight`` that of the index's vector, None where it is not known.
    """

    image_id: int
    shop_id: int
    photo_key: str
    photo_sha256: str
    terms: PhotoTerms = NO_TERMS
    metadata_revision: int = 0
    name: str = ""
    description: str = ""
    text_weight: float = 0.0
    item_weight: float | None = 0.0


@dataclass(frozen=True)
class Claim:
    """Photos that one worker holds under one token; ``photos`` may be empty."""

    token: str
    photos: list[ClaimedPhoto]


@dataclass(frozen=True)
class Backlog:
    """Photos by what is still to be done with them."""

    pending: int
    processing: int
    deleting: int
    failed: int
    oldest_pending_age_s: float


def claim_embedding(
    session: Session,
    *,
    limit: int,
    lease_s: float,
    max_attempts: int,
    few: int = 0,
    fresh_s: float = 0.0,
) -> Claim:
    """Lease up to ``limit`` photos that wait for their embedding, the shops taking turns.

    Photos whose workers died ``max_attempts`` times become ``failed`` instead. What ``claim_singles`` claims
    is left to it for ``fresh_s`` seconds; after those, it has not kept up.
    """
    waiting = candidates(session, 4 * limit, few=few, fresh_s=fresh_s)
    return _lease_for_embedding(session, _lock_free(session, waiting, limit), lease_s, max_attempts)


def claim_singles(session: Session, *, few: int, lease_s: float, max_attempts: int) -> Claim:
    """Lease up to ``few`` photos that no import brought, of shops with at most so many at work.

    So that a single upload does not share the time of a large claim. Else as ``claim_embedding``.
    """
    waiting = single_candidates(session, 4 * few, few=few)
    return _lease_for_embedding(session, _lock_free(session, waiting, few), lease_s, max_attempts)


def claim_deleting(session: Session, *, limit: int, lease_s: float) -> Claim:
    """Lease up to ``limit`` photos that were deleted by their shop, oldest first.

    Those of a shop that is being deleted go with it.
    """
    status = select(col(Shop.status)).where(col(Shop.id) == col(Image.shop_id)).scalar_subquery()
    query = (
        select(col(Image.id), col(Image.shop_id))
        .where(col(Image.status) == ImageStatus.DELETING, _lease_is_free())
        .where(status != ShopStatus.DELETING)
        .order_by(col(Image.id))
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True, of=Image)
    )
    found = session.execute(query).all()
    shops = lock_not_deleting(session, {row.shop_id for row in found})
    claimed = [row.id for row in found if row.shop_id in shops]
    return _lease(session, claimed, ImageStatus.DELETING, lease_s)


def claim_metadata(session: Session, *, limit: int, lease_s: float) -> Claim:
    """Lease up to ``limit`` embedded photos of one shop whose terms or text the index does not have yet.

    The shop is chosen at random from those that have any: none waits for a shop with many photos, and one
    whose collection cannot be written holds nobody up. Photos stay ``embedded``.
    """
    waiting = {*shops_with_work(session, Waiting.FOR_METADATA), *text_weights.changing_shops(session)}
    shops = list(lock_not_deleting(session, waiting))
    if not shops:
        return Claim("", [])
    shop_id = random.choice(shops)
    weight = text_weights.hold(session, [shop_id])[shop_id]
    query = (
        select(col(Image.id))
        .where(col(Image.status) == ImageStatus.EMBEDDED, _lease_is_free())
        .where(col(Image.metadata_revision) != col(Image.indexed_revision))
        # Not "=": PostgreSQL takes nearly every photo for behind, and would read them by id.
        .where(col(Image.shop_id).between(shop_id, shop_id))
        .order_by(col(Image.shop_id), col(Image.id))
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
    )
    claimed = session.scalars(query).all() or text_weights.lock_behind(session, shop_id, weight, limit)
    if not claimed:
        text_weights.settle(session, shop_id)
    # From here on the index may get a vector of the new weight, whatever becomes of this worker.
    same = col(Image.item_weight) == weight
    known = case((same, col(Image.item_weight)), else_=null())
    return _lease(session, claimed, ImageStatus.EMBEDDED, lease_s, item_weight=known)


def lease_embedded(session: Session, image_ids: Collection[int], lease_s: float) -> Claim:
    """Lease those of the photos that are embedded and free, for work on their vectors; they stay embedded.

    The caller has locked their shops. ``late_writes.give_back`` ends that.
    """
    query = (
        select(col(Image.id))
        .where(col(Image.id).in_(image_ids), col(Image.status) == ImageStatus.EMBEDDED, _lease_is_free())
        .order_by(col(Image.id))
        .with_for_update(key_share=True, skip_locked=True)
    )
    claimed = session.scalars(query).all() if image_ids else []
    return _lease(session, claimed, ImageStatus.EMBEDDED, lease_s)


def finish_metadata(
    session: Session, token: str, photos: Sequence[ClaimedPhoto], new_vectors: Collection[int] = ()
) -> set[int]:
    """Note that the index has terms and text as they were claimed; returns the ids of the photos held.

    One that changed meanwhile stays behind. One whose lease was lost is marked as behind: this worker may
    have written over what a later one wrote. ``new_vectors``: ids of those whose vector became another.
    """
    indexed = _indexed(session, photos)
    held = _held_or_behind(session, token, [photo.image_id for photo in photos])
    if held:
        newer = case((col(Image.id).in_(new_vectors), 1), else_=0)
        _give_up_lease(session, held, **indexed, vector_revision=col(Image.vector_revision) + newer)
    return held


def release_metadata(session: Session, token: str, image_ids: Collection[int], delay_s: float) -> None:
    """Give photos back after a write that failed, and so may have happened, in whole or in part."""
    _give_up_lease(session, _held_or_behind(session, token, image_ids), delay_s)


def finish_embedded(
    session: Session, token: str, photos: Sequence[ClaimedPhoto], version_id: int
) -> set[int]:
    """Mark the photos as embedded, with their terms as claimed; returns the ids of those that are.

    Left out: those whose lease was lost, and those that were replaced or deleted meanwhile; of the latter
    the lease is given up, so that they are claimed again at once. Raises DependencyUnavailable where
    prompts are not answered from ``version_id``, to which the photos were written, any more.
    """
    if not index_versions.is_live(session, version_id):
        raise DependencyUnavailable("The photos are indexed with another model since.")
    indexed = _indexed(session, photos)
    held = _lock_held(session, token, [photo.image_id for photo in photos])
    done = {image_id for image_id, status in held.items() if status is ImageStatus.PROCESSING}
    values: dict[str, Any] = {
        **indexed,
        "status": ImageStatus.EMBEDDED,
        "embedded_at": func.now(),
        "vector_revision": col(Image.vector_revision) + 1,
        "attempts": 0,
        "error": None,
    }
    _give_up_lease(session, done, **values)
    _give_up_lease(session, held.keys() - done)
    return done


def finish_failed(session: Session, token: str, image_id: int, error: str) -> None:
    """Mark one photo as failed for good; ``error`` is shown to the shop."""
    held = _lock_held(session, token, [image_id])
    if held.get(image_id) is ImageStatus.PROCESSING:
        _give_up_lease(session, held, status=ImageStatus.FAILED, error=error[:MAX_ERROR_CHARACTERS])
    else:
        _give_up_lease(session, held)


def release(
    session: Session,
    token: str,
    image_ids: Collection[int],
    *,
    delay_s: float,
    error: str | None,
    count_attempt: bool,
) -> None:
    """Give photos back to the queue, to be claimed after ``delay_s`` at the earliest.

    ``count_attempt=False`` takes back the attempt: the photo is not to blame for an outage.
    """
    held = _lock_held(session, token, image_ids)
    processing = {image_id for image_id, status in held.items() if status is ImageStatus.PROCESSING}
    attempts = col(Image.attempts) if count_attempt else func.greatest(col(Image.attempts) - 1, 0)
    reason = error[:MAX_ERROR_CHARACTERS] if error is not None else None
    retry: dict[str, Any] = {"status": ImageStatus.PENDING, "attempts": attempts, "error": reason}
    _give_up_lease(session, processing, delay_s, **retry)
    _give_up_lease(session, held.keys() - processing, delay_s)


def finish_deleted(session: Session, token: str, image_ids: Collection[int]) -> int:
    """Delete the rows of photos whose vectors and files are gone; returns how many."""
    held = _lock_held(session, token, image_ids)
    gone = [image_id for image_id, status in held.items() if status is ImageStatus.DELETING]
    session.execute(delete(Image).where(col(Image.id).in_(gone)))
    return len(gone)


def renew(session: Session, token: str, image_ids: Collection[int], lease_s: float) -> set[int]:
    """Prolong the lease of those photos that this token still holds, expired or not; returns them.

    They are locked: nobody takes the lease over before the transaction ends.
    """
    held = _lock_held(session, token, image_ids)
    if held:
        change = update(Image).where(col(Image.id).in_(list(held)))
        session.execute(change.values(lease_until=_after(lease_s)))
    return set(held)


def touch_lost(session: Session, image_ids: Collection[int], token: str) -> None:
    """Repair after a write to the index under a lease that was already lost.

    Photos that another worker has embedded, or is embedding, are queued again (their stored vector is used,
    so that costs one write to the index); a deletion under way starts over.
    """
    query = select(col(Image.id), col(Image.status), col(Image.lease_token)).where(
        col(Image.id).in_(image_ids)
    )
    rows = session.execute(query.order_by(col(Image.id)).with_for_update(key_share=True)).all()
    lost = [row for row in rows if row.lease_token != token]
    deleting = [row.id for row in lost if row.status is ImageStatus.DELETING]
    again = [row.id for row in lost if row.status is not ImageStatus.DELETING]
    _give_up_lease(session, deleting)
    pending: dict[str, Any] = {"status": ImageStatus.PENDING, "attempts": 0, "error": None}
    session.execute(update(Image).where(col(Image.id).in_(again)).values(**pending))


def backlog(session: Session) -> Backlog:
    """Of all shops. Its cost grows with the backlog, not with the number of photos."""
    age_s = func.extract("epoch", func.now() - func.min(col(Image.updated_at)))
    count = select(col(Image.status), func.count(), age_s).group_by(col(Image.status))
    waiting = count.where(col(Image.status).in_([ImageStatus.PENDING, ImageStatus.PROCESSING]))
    others = count.where(col(Image.status).in_([ImageStatus.DELETING, ImageStatus.FAILED]))
    found = {row[0]: row for query in (waiting, others) for row in session.execute(query)}
    counts = {status: found[status][1] if status in found else 0 for status in ImageStatus}
    return Backlog(
        pending=counts[ImageStatus.PENDING],
        processing=counts[ImageStatus.PROCESSING],
        deleting=counts[ImageStatus.DELETING],
        failed=counts[ImageStatus.FAILED],
        oldest_pending_age_s=float(found[ImageStatus.PENDING][2]) if ImageStatus.PENDING in found else 0.0,
    )


def _lease_for_embedding(
    session: Session, claimed: Sequence[int], lease_s: float, max_attempts: int
) -> Claim:
    """Photos that the caller has locked."""
    token = secrets.token_hex(16)
    exhausted = col(Image.attempts) >= max_attempts
    change = (
        update(Image)
        .where(col(Image.id).in_(claimed))
        .values(
            status=case((exhausted, ImageStatus.FAILED.value), else_=ImageStatus.PROCESSING.value),
            attempts=case((exhausted, col(Image.attempts)), else_=col(Image.attempts) + 1),
            lease_token=case((exhausted, null()), else_=token),
            lease_until=case((exhausted, null()), else_=_after(lease_s)),
            error=case((exhausted, _gave_up()), else_=col(Image.error)),
        )
    )
    return Claim(token, _claimed_photos(session, change, ImageStatus.PROCESSING) if claimed else [])


def _lease(
    session: Session, claimed: Sequence[int | None], status: ImageStatus, lease_s: float, **values: Any
) -> Claim:
    """Photos that the caller has locked."""
    token = secrets.token_hex(16)
    lease = {"lease_token": token, "lease_until": _after(lease_s)}
    change = update(Image).where(col(Image.id).in_(claimed)).values(**lease, **values)
    return Claim(token, _claimed_photos(session, change, status) if claimed else [])


def _lock_free(session: Session, candidates: Sequence[int], limit: int) -> list[int]:
    """One whose workers died before comes alone: what it may do to a worker, it does to no other photo."""
    order = {image_id: place for place, image_id in enumerate(candidates)}
    query = (
        select(col(Image.id), col(Image.attempts))
        .where(col(Image.id).in_(candidates), _lease_is_free())
        .where(col(Image.status).in_([ImageStatus.PENDING, ImageStatus.PROCESSING]))
        .order_by(case(order, value=col(Image.id)) if order else col(Image.id))
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
    )
    rows = session.execute(query).all() if candidates else []
    first, others = rows[:1], rows[1:]
    if any(row.attempts >= SUSPECT_ATTEMPTS for row in first):
        return [row.id for row in first]
    return [row.id for row in (*first, *others) if row.attempts < SUSPECT_ATTEMPTS]


def _lock_held(session: Session, token: str, image_ids: Collection[int]) -> dict[int, ImageStatus]:
    """Lock, in one order so that no two workers deadlock, the rows whose lease is this token's."""
    query = (
        select(col(Image.id), col(Image.status))
        .where(col(Image.id).in_(image_ids), col(Image.lease_token) == token)
        .order_by(col(Image.id))
        .with_for_update(key_share=True)
    )
    return {row.id: row.status for row in session.execute(query)} if image_ids else {}


def _held_or_behind(session: Session, token: str, image_ids: Collection[int]) -> set[int]:
    """Lock the rows; returns those whose lease is this token's. The others are to be written again."""
    query = select(col(Image.id), col(Image.lease_token)).where(col(Image.id).in_(image_ids))
    rows = session.execute(query.order_by(col(Image.id)).with_for_update(key_share=True)).all()
    lost = [row.id for row in rows if row.lease_token != token]
    if lost:
        change = update(Image).where(col(Image.id).in_(lost))
        revision = col(Image.metadata_revision) + 1
        session.execute(change.values(metadata_revision=revision, item_weight=None))
    return {row.id for row in rows} - set(lost)


def _indexed(session: Session, photos: Sequence[ClaimedPhoto]) -> dict[str, Any]:
    """The column values that say what the index has of each photo; to be asked for before rows are locked.

    Where the shop's text weight is another by now, the revision is a former one: the photo is behind. Where
    the revision went on, a late worker may have written a vector of another weight after this one did.
    """
    if not photos:
        return {}
    weights = text_weights.hold(session, {photo.shop_id for photo in photos})
    outdated = {one.image_id: int(weights.get(one.shop_id) != one.text_weight) for one in photos}
    revision = case({one.image_id: one.metadata_revision for one in photos}, value=col(Image.id))
    weight = case({one.image_id: one.text_weight for one in photos}, value=col(Image.id))
    sure = or_(col(Image.metadata_revision) == revision, col(Image.item_weight) == weight)
    return {
        "indexed_revision": revision - case(outdated, value=col(Image.id)),
        "item_weight": case((sure, weight), else_=null()),
    }


def _give_up_lease(
    session: Session, image_ids: Collection[int] | Mapping[int, Any], delay_s: float = 0.0, **values: Any
) -> None:
    if image_ids:
        until = _after(delay_s) if delay_s > 0 else None
        change = update(Image).where(col(Image.id).in_(list(image_ids)))
        session.execute(change.values(lease_token=None, lease_until=until, **values))


def _claimed_photos(session: Session, change: Any, status: ImageStatus) -> list[ClaimedPhoto]:
    photo = (Image.id, Image.shop_id, Image.photo_key, Image.photo_sha256, Image.metadata_revision)
    terms = (Image.category_id, Image.style_id, Image.age_group_id)
    weight = select(col(Shop.text_weight)).where(col(Shop.id) == col(Image.shop_id)).scalar_subquery()
    item = (Image.name, Image.description, weight.label("text_weight"), Image.item_weight)
    returning = change.returning(*photo, *terms, *item, Image.status)
    returning = returning.execution_options(synchronize_session=False)
    rows = [row for row in session.execute(returning) if row.status is status]
    return sorted((_claimed(row) for row in rows), key=lambda one: one.image_id)


def _claimed(row: Any) -> ClaimedPhoto:
    return ClaimedPhoto(
        image_id=row.id,
        shop_id=row.shop_id,
        photo_key=row.photo_key,
        photo_sha256=row.photo_sha256,
        terms=PhotoTerms(row.category_id, row.style_id, row.age_group_id),
        metadata_revision=row.metadata_revision,
        name=row.name,
        description=row.description,
        text_weight=row.text_weight,
        item_weight=row.item_weight,
    )


def _lease_is_free() -> Any:
    return or_(col(Image.lease_until).is_(None), col(Image.lease_until) < func.now())


def _after(delay_s: float) -> Any:
    return func.now() + timedelta(seconds=delay_s)


def _gave_up() -> Any:
    reason = func.coalesce(col(Image.error), "the work on it stopped each time without a reason")
    message = func.concat("gave up after ", col(Image.attempts), " attempts: ", reason)
    return func.left(message, MAX_ERROR_CHARACTERS)
