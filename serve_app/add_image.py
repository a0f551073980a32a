"""Upload, change and remove one photo. Indexing follows in the background, from the row's status."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session

from db import images
from db.images import ImageRow
from db.media import MediaStore, image_prefix, photo_key
from db.open_shops import lock_open
from models.errors import DependencyUnavailable, InvalidInput, NotFound, QuotaExceeded
from models.image import TERM_COLUMNS, Image, ImageStatus, PhotoColumns
from models.image_api import ImageChanges, ImageFields
from serve_app.callers import Caller
from serve_app.embed_photo import checked
from serve_app.photos import PhotoInfo
from serve_app.services import Services

logger = logging.getLogger("serve_app")
WAIT_POLL_S = 0.1


async def add_image(services: Services, caller: Caller, fields: ImageFields, photo: bytes) -> ImageRow:
    """Check the photo, store it and its row as ``pending``.

    Raises the photo errors of ``check_photo``, UnknownReference, Conflict (sku taken), QuotaExceeded.
    """
    await services.photo_quota.refuse_early(services.database, caller)
    info = await checked(services, photo)
    store = partial(_insert_within_quota, services, caller, fields, photo, info)
    image_id = await services.database.run(store)
    return await get_image(services, caller.shop_id, image_id)


async def change_image(
    services: Services, shop_id: int, image_id: int, changes: ImageChanges, photo: bytes | None
) -> ImageRow:
    """Change what is given. New metadata never re-embeds; a new photo does, unless it is the same one."""
    info = await checked(services, photo) if photo is not None else None
    replacement = (photo, info) if photo is not None and info is not None else None
    update = partial(_update, services.media, shop_id, image_id, changes, replacement)
    replaced_key = await services.database.run(update)
    if replaced_key is not None:
        await asyncio.to_thread(_remove_file, services.media, replaced_key)
    return await get_image(services, shop_id, image_id)


async def get_image(services: Services, shop_id: int, image_id: int) -> ImageRow:
    """Raises NotFound, for another shop's photo too."""
    row = await services.database.read(lambda session: images.get(session, shop_id, image_id))
    if row is None:
        raise no_such_image(image_id)
    return row


async def delete_image(services: Services, shop_id: int, image_id: int) -> None:
    """From the commit on no answer shows the photo; vectors, file and row go in the background."""
    if not await services.database.run(lambda session: images.mark_deleting(session, shop_id, image_id)):
        raise no_such_image(image_id)


async def retry_image(services: Services, shop_id: int, image_id: int) -> ImageRow:
    """Queue a failed photo again. Raises NotFound; InvalidInput when it has not failed."""
    if not await services.database.run(lambda session: images.retry(session, shop_id, image_id)):
        row = await get_image(services, shop_id, image_id)
        raise InvalidInput(
            f"Photo {image_id} is {row.image.status.value}; only a failed photo can be retried."
        )
    return await get_image(services, shop_id, image_id)


async def wait_until_indexed(services: Services, row: ImageRow, wait_s: float) -> ImageRow:
    """The row once it is embedded or failed, or as it is after ``wait_s``."""
    deadline = asyncio.get_running_loop().time() + wait_s
    waiting = (ImageStatus.PENDING, ImageStatus.PROCESSING)
    while row.image.status in waiting and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(WAIT_POLL_S)
        row = await get_image(services, row.image.shop_id, row.image_id)
    return row


def no_such_image(image_id: int) -> NotFound:
    return NotFound(f"There is no photo {image_id} in this shop.")


def _insert_within_quota(
    services: Services, caller: Caller, fields: ImageFields, photo: bytes, info: PhotoInfo, session: Session
) -> int:
    image_id = _insert(services.media, caller.shop_id, fields, photo, info, session)
    try:
        services.photo_quota.require_room(session, caller)
    except QuotaExceeded:
        _remove_file(services.media, image_prefix(caller.shop_id, image_id))
        raise
    return image_id


def _insert(
    media: MediaStore, shop_id: int, fields: ImageFields, photo: bytes, info: PhotoInfo, session: Session
) -> int:
    lock_open(session, shop_id)
    image = images.insert(
        session,
        Image(
            shop_id=shop_id,
            sku=fields.sku or f"photo-{uuid4().hex}",
            product_id=fields.product_id,
            name=fields.name,
            description=fields.description,
            category_id=fields.Category,
            style_id=fields.Styles,
            age_group_id=fields.AgeGroup,
            attributes=fields.attributes,
            product_url=fields.product_url,
            auto_tag=fields.auto_tag,
            photo_key="",
            **_photo_columns(photo, info),
        ),
    )
    image_id = _id(image)
    # The file's name holds the row's id, so that deleting the row's folder leaves nothing behind.
    image.photo_key = photo_key(shop_id, image_id, info.sha256, info.media_type)
    media.save(image.photo_key, photo)
    return image_id


def _update(
    media: MediaStore,
    shop_id: int,
    image_id: int,
    changes: ImageChanges,
    replacement: tuple[bytes, PhotoInfo] | None,
    session: Session,
) -> str | None:
    """Returns the key of the file that the row no longer names."""
    lock_open(session, shop_id)
    image = images.get_for_update(session, shop_id, image_id)
    if image is None:
        raise no_such_image(image_id)
    given = changes.model_dump(include=changes.model_fields_set)
    for name, value in given.items():
        setattr(image, TERM_COLUMNS.get(name, name), value)
    _note_decided(image, given)
    image.updated_at = datetime.now(UTC)
    images.save(session, image)  # before the file, so that a sku that is taken leaves none behind
    if replacement is None or replacement[1].sha256 == image.photo_sha256:
        return None
    (photo, info), replaced_key = replacement, image.photo_key
    image.photo_key = photo_key(shop_id, image_id, info.sha256, info.media_type)
    media.save(image.photo_key, photo)
    images.replace_photo(image, _photo_columns(photo, info))
    return replaced_key


def _note_decided(image: Image, given: dict[str, Any]) -> None:
    """What the shop says of a term is no suggestion any more, and is not filled in again until it asks."""
    if given.get("auto_tag"):
        image.suggestions = {name: mark for name, mark in image.suggestions.items() if mark is not None}
        image.metadata_revision += 1  # the Indexer looks at it
    image.suggestions = image.suggestions | dict.fromkeys(given.keys() & TERM_COLUMNS.keys())


def _remove_file(media: MediaStore, key: str) -> None:
    """No row names it; one that cannot be removed now does no harm, and goes with its folder later."""
    try:
        media.delete_tree(key)
    except DependencyUnavailable:
        logger.warning("the photo file %s could not be removed", key)


def _photo_columns(photo: bytes, info: PhotoInfo) -> PhotoColumns:
    return PhotoColumns(
        photo_sha256=info.sha256,
        photo_bytes=len(photo),
        photo_width_px=info.width_px,
        photo_height_px=info.height_px,
        photo_type=info.media_type,
    )


def _id(image: Image) -> int:
    if image.id is None:
        raise AssertionError("a flushed row has an id")
    return image.id
