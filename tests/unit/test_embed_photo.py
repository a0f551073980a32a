"""Photos to ask with: the checks of an upload, the pointer of the field at fault, one call for several."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from configs.serving import PhotoArgs
from models.errors import AppError, PhotoEmpty, PhotoTooLarge, PhotoTypeUnsupported, PhotoUnreadable
from serve_app.embed_photo import embed_photo, embed_photos
from serve_app.photos import prepare_photo
from serve_app.ports import Pixels, Vector
from tests.drawings import garment
from tests.fakes import MODEL
from tests.unit.conftest import FakeService


class SeeingEmbedder:
    """Answers each photo's first pixels."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def embed(self, pixels: Pixels) -> Vector:
        self.calls.append(len(pixels))
        return pixels.reshape(len(pixels), -1).astype(np.float32)


async def test_each_photo_gets_its_own_vector_in_one_call(service: FakeService) -> None:
    embedder = SeeingEmbedder()
    services = replace(service.services, image_embedder=embedder)
    photos = {"/queries/0/Photo": garment(seed=1), "/queries/2/Photo": garment(seed=2)}
    found = await embed_photos(services, photos)
    assert embedder.calls == [2]
    assert await embed_photos(services, {}) == {}
    for pointer, photo in photos.items():
        assert found[pointer].sha256 == hashlib.sha256(photo).hexdigest()
        expected = prepare_photo(photo, MODEL.geometry).reshape(-1)
        assert np.array_equal(found[pointer].vector, expected)
    alone = await embed_photo(services, garment(seed=2))
    assert np.array_equal(alone.vector, found["/queries/2/Photo"].vector)


@pytest.mark.parametrize(
    ("photo", "error"),
    [
        (b"", PhotoEmpty),
        (b"%PDF-1.7 and so on", PhotoTypeUnsupported),
        (garment()[:400], PhotoUnreadable),
        (garment(), PhotoTooLarge),
    ],
)
async def test_it_passes_the_checks_of_an_upload(
    service: FakeService, photo: bytes, error: type[AppError]
) -> None:
    embedder = SeeingEmbedder()
    photos = PhotoArgs(max_bytes=500) if error is PhotoTooLarge else PhotoArgs()
    services = replace(service.services, image_embedder=embedder, photos=photos)
    with pytest.raises(error) as caught:
        await embed_photos(services, {"/queries/1/Photo": photo})
    assert caught.value.pointer == "/queries/1/Photo"
    assert embedder.calls == []
