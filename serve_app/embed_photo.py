"""A photo that is asked with rather than kept: checked as an upload is, then one vector."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.errors import AppError
from serve_app.photos import PhotoInfo, PhotoLimits, check_photo, read_photo
from serve_app.ports import Pixels, Vector
from serve_app.services import Services


@dataclass(frozen=True, slots=True)
class EmbeddedPhoto:
    """``vector``: (d,) float32, unit length. ``sha256``: of the file, in hexadecimal."""

    vector: Vector
    sha256: str


async def checked(services: Services, photo: bytes) -> PhotoInfo:
    """What every photo must pass. Raises the photo errors of ``check_photo``."""
    return await asyncio.to_thread(check_photo, photo, _limits(services))


async def embed_photo(services: Services, photo: bytes, pointer: str = "/Photo") -> EmbeddedPhoto:
    """One photo. ``pointer``: of the field that holds it; the photo errors name it."""
    return (await embed_photos(services, {pointer: photo}))[pointer]


async def embed_photos(services: Services, photos: Mapping[str, bytes]) -> dict[str, EmbeddedPhoto]:
    """Several, by the pointers of their fields, as one call of the image tower.

    They are decoded one after the other, so that a request never holds more than one at full size.
    """
    if not photos:
        return {}
    prepared = [await asyncio.to_thread(_prepared, services, *photo) for photo in photos.items()]
    vectors = await services.image_embedder.embed(np.stack([pixels for _, pixels in prepared]))
    return {
        pointer: EmbeddedPhoto(vector, info.sha256)
        for pointer, vector, (info, _) in zip(photos, vectors, prepared, strict=True)
    }


def _prepared(services: Services, pointer: str, photo: bytes) -> tuple[PhotoInfo, Pixels]:
    try:
        return read_photo(photo, _limits(services), services.model.geometry)
    except AppError as error:
        raise error.at(pointer) from None


def _limits(services: Services) -> PhotoLimits:
    return PhotoLimits(services.photos.max_bytes, services.photos.max_pixels)
