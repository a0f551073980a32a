"""Upload, change and remove one photo. Indexing follows in the background, from the row's status."""

from __future__ import annotations

import asyncio
from functools import partial

from sqlalchemy.orm import Session

from db import images
from db.images import ImageRow
from db.media import MediaStore, image_prefix, photo_key
from db.open_shops import lock_open
from models.errors import InvalidInput, NotFound, QuotaExceeded
from models.image import Image, ImageStatus
from models.image_api import ImageChanges, ImageFields
from serve_app.callers import Caller
from serve_app.embed_photo import checked
from serve_app.photo_rows import change_row, new_row, photo_columns, remove_file
from serve_app.photos import PhotoInfo
from serve_app.services import Services

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
        await asyncio.to_thread(remove_file, services.media, replaced_key)
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
        remove_file(services.media, image_prefix(caller.shop_id, image_id))
        raise
    return image_id


def _insert(
    media: MediaStore, shop_id: int, fields: ImageFields, photo: bytes, info: PhotoInfo, session: Session
) -> int:
    lock_open(session, shop_id)
    image = images.insert(session, new_row(shop_id, fields, photo_columns(photo, info)))
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
    change_row(image, given)
    images.save(session, image)  # before the file, so that a sku that is taken leaves none behind
    if replacement is None or replacement[1].sha256 == image.photo_sha256:
        return None
    (photo, info), replaced_key = replacement, image.photo_key
    image.photo_key = photo_key(shop_id, image_id, info.sha256, info.media_type)
    media.save(image.photo_key, photo)
    images.replace_photo(image, photo_columns(photo, info))
    return replaced_key


def _id(image: Image) -> int:
    if image.id is None:
        raise AssertionError("a flushed row has an id")
    return image.id
