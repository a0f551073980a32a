"""Photos as their shop sees them; the work on them is in ``db.work``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    cast,
    func,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from db import photo_warnings
from db.session import violated_constraint
from db.shown_photos import ShownPhoto
from models.errors import Conflict, UnknownReference
from models.image import TERM_COLUMNS, Image, ImageStatus, PhotoColumns
from models.shop import Shop, ShopStatus
from models.taxonomy import AgeGroup, Category, Style

MAX_ID = 2**31 - 1
_REFERENCES = {
    "image_category_id_fkey": ("Category", "/api/categories/"),
    "image_style_id_fkey": ("Styles", "/api/styles/"),
    "image_age_group_id_fkey": ("AgeGroup", "/api/age-groups/"),
}


@dataclass(frozen=True)
class ImageRow:
    """A photo with its terms' names and, where its shop reads it, the warnings that hold."""

    image: Image
    category_name: str | None
    style_name: str | None
    age_group_name: str | None
    warnings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def image_id(self) -> int:
        if self.image.id is None:
            raise AssertionError("a stored row has an id")
        return self.image.id

    @property
    def shown(self) -> ShownPhoto:
        """The same as shoppers see it."""
        image = self.image
        return ShownPhoto(
            image_id=self.image_id,
            sku=image.sku,
            product_id=image.product_id,
            name=image.name,
            description=image.description,
            category_id=image.category_id,
            category_name=self.category_name,
            style_id=image.style_id,
            style_name=self.style_name,
            age_group_id=image.age_group_id,
            age_group_name=self.age_group_name,
            attributes=image.attributes,
            product_url=image.product_url,
            photo_sha256=image.photo_sha256,
            vector_revision=image.vector_revision,
        )


@dataclass(frozen=True, slots=True)
class KnownPhoto:
    """The file that a sku has, and where it was fetched, if it was."""

    sha256: str
    source_url: str | None
    source_etag: str | None


def sample_of_names(session: Session, shop_id: int, count: int) -> list[str]:
    """The names of at most ``count`` embedded photos of the shop, nearly the same ones at each call.

    They are spread over the catalogue by a multiplicative hash of their ids (Knuth, TAOCP 6.4), which are
    read from an index of embedded photos alone.
    """
    place = (cast(col(Image.id), BigInteger) * 2654435761).op("&")(0xFFFFFFFF)
    own = col(Image.shop_id) == shop_id, col(Image.status) == ImageStatus.EMBEDDED
    ids = select(col(Image.id)).where(*own).order_by(place).limit(count)
    sample = select(col(Image.name)).where(col(Image.id).in_(ids), *own)
    return list(session.scalars(sample.order_by(place)))


def insert(session: Session, image: Image) -> Image:
    """Store a new photo's row; its id is set afterwards. Raises what ``save`` raises."""
    save(session, image)
    return image


def save(session: Session, image: Image) -> None:
    """Write a new or changed row now.

    Raises ``Conflict`` for a sku that is in use, ``UnknownReference`` for a term that does not exist. The
    constraints decide, so another transaction that takes the sku or deletes the term is no matter.
    """
    sku, terms = image.sku, (image.category_id, image.style_id, image.age_group_id)
    try:
        with session.begin_nested():
            session.add(image)
    except IntegrityError as error:
        constraint = violated_constraint(error)
        if constraint == "uq_image_shop_sku":
            message = (
                f"The sku '{sku}' belongs to another photo of this shop. Change that one, or use another sku."
            )
            raise Conflict(message).at("/sku") from error
        for (name, (field, path)), term_id in zip(_REFERENCES.items(), terms, strict=True):
            if constraint == name:
                message = f"{field} {term_id} does not exist. GET {path} lists the ids."
                raise UnknownReference(message).at(f"/{field}") from error
        raise


def save_all(session: Session, images: Sequence[Image]) -> None:
    """Write many new or changed rows. Raises ``Conflict`` where another one took a sku meanwhile."""
    try:
        session.add_all(images)
        session.flush()
    except IntegrityError as error:
        if violated_constraint(error) == "uq_image_shop_sku":
            raise Conflict("A sku was taken by another photo of this shop.") from error
        raise


def known_photos(session: Session, shop_id: int, skus: Collection[str]) -> dict[str, KnownPhoto]:
    """What is stored under these skus of the shop."""
    file = col(Image.photo_sha256), col(Image.source_url), col(Image.source_etag)
    query = select(col(Image.sku), *file).where(*_living_skus(shop_id, skus))
    return {row[0]: KnownPhoto(*row[1:]) for row in session.execute(query)} if skus else {}


def lock_by_sku(session: Session, shop_id: int, skus: Collection[str]) -> dict[str, Image]:
    """The same photos, locked in the order of their ids, as workers lock them."""
    query = select(Image).where(*_living_skus(shop_id, skus)).order_by(col(Image.id))
    locked = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return {image.sku: image for image in session.scalars(locked)} if skus else {}


def get(session: Session, shop_id: int, image_id: int) -> ImageRow | None:
    """One photo of the shop; None also for one that is being deleted."""
    if not 0 < image_id <= MAX_ID:
        return None
    rows = _detailed(session, _visible(shop_id).where(col(Image.id) == image_id))
    return rows[0] if rows else None


def photo_of(session: Session, image_id: int) -> Image | None:
    """Any active shop's photo by its id alone: for addresses whose signature names the photo."""
    query = (
        select(Image)
        .join(Shop, col(Shop.id) == Image.shop_id)
        .where(col(Image.id) == image_id, col(Image.status) != ImageStatus.DELETING)
        .where(col(Shop.status) == ShopStatus.ACTIVE)
    )
    return session.scalars(query).one_or_none()


def get_for_update(session: Session, shop_id: int, image_id: int) -> Image | None:
    """One photo of the shop, locked against other changes until the transaction ends."""
    if not 0 < image_id <= MAX_ID:
        return None
    query = (
        select(Image)
        .where(col(Image.id) == image_id, col(Image.shop_id) == shop_id)
        .where(col(Image.status) != ImageStatus.DELETING)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return session.scalars(query).one_or_none()


def list_page(
    session: Session, shop_id: int, after_id: int | None, limit: int, *, only_warned: bool = False
) -> list[ImageRow]:
    """Up to ``limit`` photos, newest first, of those with an id below ``after_id``."""
    query = _visible(shop_id).order_by(col(Image.id).desc()).limit(limit)
    if after_id is not None:
        query = query.where(col(Image.id) < min(after_id, MAX_ID))
    if only_warned:
        query = query.where(photo_warnings.any_current())
    return _detailed(session, query)


def living(session: Session, shop_id: int, ids: Collection[int]) -> dict[int, Image]:
    """Those of ``ids`` that are photos of the shop and not being deleted."""
    query = select(Image).where(col(Image.shop_id) == shop_id, col(Image.id).in_(ids))
    rows = session.scalars(query.where(col(Image.status) != ImageStatus.DELETING)).all() if ids else []
    return {row.id: row for row in rows if row.id is not None}


def oldest(session: Session, shop_id: int, after_id: int, until_id: int, limit: int) -> list[ImageRow]:
    """Up to ``limit`` photos, oldest first, with ids above ``after_id`` and up to ``until_id``."""
    query = _visible(shop_id).where(col(Image.id) > after_id, col(Image.id) <= until_id)
    return _detailed(session, query.order_by(col(Image.id)).limit(limit))


def replace_photo(image: Image, columns: PhotoColumns) -> None:
    """Set new photo fields and ask for a new embedding.

    What the model said of the former photo goes: its warnings, and the terms that it filled in.
    The lease stays as it is: a task that works on the old photo keeps others away until it notices.
    """
    for name, value in columns.items():
        setattr(image, name, value)
    image.source_url = image.source_etag = image.import_job_id = None
    marks = {name for name, confidence in image.suggestions.items() if confidence is not None}
    for name in marks:
        setattr(image, TERM_COLUMNS[name], None)
    image.suggestions = dict.fromkeys(image.suggestions.keys() - marks)
    image.warnings = []
    image.status = ImageStatus.PENDING
    image.attempts = 0
    image.error = None
    image.updated_at = datetime.now(UTC)


def mark_deleting(session: Session, shop_id: int, image_id: int) -> bool:
    """From the commit on the photo is invisible; false where there is no such photo."""
    return _change_status(session, shop_id, image_id, tuple(ImageStatus), ImageStatus.DELETING)


def retry(session: Session, shop_id: int, image_id: int) -> bool:
    """Ask again for a photo that failed; false where there is no such failed photo."""
    return _change_status(session, shop_id, image_id, (ImageStatus.FAILED,), ImageStatus.PENDING)


def requeue(session: Session, image_id: int, before: tuple[ImageStatus, ...]) -> ImageStatus | None:
    """Any shop's photo becomes pending again. Returns what it was; None where not among ``before``."""
    query = select(Image).where(col(Image.id) == image_id, col(Image.status).in_(before))
    found = session.scalars(query.with_for_update(key_share=True)).one_or_none()
    if found is None:
        return None
    status = found.status
    _change_status(session, found.shop_id, image_id, before, ImageStatus.PENDING)
    return status


def by_id(session: Session, image_ids: Sequence[int]) -> dict[int, Image]:
    """Any shop's photos, those that are being deleted included."""
    rows = session.scalars(select(Image).where(col(Image.id).in_(image_ids)))
    return {row.id: row for row in rows if row.id is not None}


def counts_by_status(session: Session, shop_id: int | None) -> dict[ImageStatus, int]:
    """How many photos stand in each status, zeros included; of all shops where ``shop_id`` is None."""
    query = select(col(Image.status), func.count()).group_by(col(Image.status))
    if shop_id is not None:
        query = query.where(col(Image.shop_id) == shop_id)
    found: dict[ImageStatus, int] = {row[0]: row[1] for row in session.execute(query)}
    return {status: found.get(status, 0) for status in ImageStatus}


def ids(session: Session, shop_id: int) -> list[int]:
    """Ids of the shop's embedded photos, ascending."""
    query = select(col(Image.id)).where(
        col(Image.shop_id) == shop_id, col(Image.status) == ImageStatus.EMBEDDED
    )
    return [image_id for image_id in session.scalars(query.order_by(col(Image.id))) if image_id is not None]


def _living_skus(shop_id: int, skus: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    own = col(Image.shop_id) == shop_id, col(Image.sku).in_(skus)
    return *own, col(Image.status) != ImageStatus.DELETING


def _detailed(session: Session, query: Select[Image, str, str, str]) -> list[ImageRow]:
    """The rows with their warnings, for their shop; one more query where there may be any."""
    rows = [ImageRow(*row) for row in session.execute(query)]
    warnings = photo_warnings.current(session, [row.image for row in rows])
    return [replace(row, warnings=warnings.get(row.image_id, [])) for row in rows]


def _visible(shop_id: int) -> Select[Image, str, str, str]:
    return _with_names().where(col(Image.shop_id) == shop_id, col(Image.status) != ImageStatus.DELETING)


def _with_names() -> Select[Image, str, str, str]:
    return (
        select(Image, col(Category.name), col(Style.name), col(AgeGroup.name))
        .outerjoin(Category, col(Category.id) == Image.category_id)
        .outerjoin(Style, col(Style.id) == Image.style_id)
        .outerjoin(AgeGroup, col(AgeGroup.id) == Image.age_group_id)
    )


def _change_status(
    session: Session, shop_id: int, image_id: int, before: tuple[ImageStatus, ...], after: ImageStatus
) -> bool:
    if not 0 < image_id <= MAX_ID:
        return False
    change = (
        update(Image)
        .where(col(Image.id) == image_id, col(Image.shop_id) == shop_id)
        .where(col(Image.status).in_(before), col(Image.status) != ImageStatus.DELETING)
        .values(status=after, attempts=0, error=None, updated_at=func.now())
        .returning(col(Image.id))
    )
    return session.execute(change).one_or_none() is not None
