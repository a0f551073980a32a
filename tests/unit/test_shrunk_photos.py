"""JPEGs that are shrunk on load: their pixels and vectors, with the full decode as the oracle."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from math import ceil
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.errors import PhotoUnreadable
from scripts.evaluate import DEMO_MODEL
from scripts.garments.picture import draw, random_look
from serve_app.encoder import FashionClipEncoder
from serve_app.photos import ImageGeometry, PhotoLimits, check_photo, prepare_photo, read_photo
from tests.photographs import STORED, encoded, photograph

SIDE = 64
GEOMETRY = ImageGeometry(shortest_edge_px=SIDE, crop_px=SIDE)
WHOLE = replace(GEOMETRY, shrinks=False)
LEAST_PX = ceil(1.78 * SIDE)


def smooth(width: int, height: int) -> Image.Image:
    """A photograph without noise: a picture that is shrunk twice differs little, one that is shifted much."""
    return photograph(width, height).filter(ImageFilter.GaussianBlur(6))


def difference(data: bytes, geometry: ImageGeometry = GEOMETRY) -> int:
    """The largest one between the shrunk and the whole decode of a file, of 255."""
    shrunk, whole = (
        prepare_photo(data, one).astype(int) for one in (geometry, replace(geometry, shrinks=False))
    )
    assert np.ptp(whole) > 50
    return int(np.abs(shrunk - whole).max())


@pytest.mark.parametrize(("edge", "from_px"), [(64, 448), (224, 798)])
def test_a_jpeg_is_shrunk_from_the_size_on_at_which_enough_is_left(edge: int, from_px: int) -> None:
    geometry = ImageGeometry(edge, edge)
    below, from_there = (encoded(photograph(width, 1200), "JPEG") for width in (from_px - 1, from_px))
    assert difference(below, geometry) == 0
    assert 0 < difference(from_there, geometry) < 30
    assert difference(encoded(photograph(from_px, 1200), "PNG"), geometry) == 0


@pytest.mark.parametrize("times", [4, 5.5, 8])
def test_vectors_stay_within_cosine_0_999(times: float) -> None:
    """At the sizes of which the least is left, and at one between."""
    width = int(times * GEOMETRY.least_decoded_px)
    encoder = FashionClipEncoder.load(DEMO_MODEL, towers=["image"], dtype="float32")
    assert encoder.image_size_px == SIDE
    size = (width, width * 5 // 4)
    garments = [draw(random_look(rng), rng, size) for rng in map(Random, range(6))]
    files = [encoded(one, "JPEG", quality=85) for one in (*garments, photograph(*size), smooth(*size))]
    shrunk, whole = (
        encoder.encode_images(np.stack([prepare_photo(file, geometry) for file in files]))
        for geometry in (GEOMETRY, WHOLE)
    )
    cosines = (shrunk * whole).sum(axis=1)
    assert 0.999 <= cosines.min() < 0.9999999


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(457, 601), (601, 457), (1031, 903), (457, 4571)])
def test_a_shrunk_photo_is_turned_upright(orientation: int, size: tuple[int, int]) -> None:
    upright = smooth(*size)
    stored = upright.transpose(STORED[orientation]) if orientation in STORED else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, "JPEG", quality=100, subsampling=0, exif=exif)
    for geometry in (GEOMETRY, ImageGeometry(73, 64)):
        expected = prepare_photo(encoded(upright, "PNG"), geometry).astype(int)
        assert np.abs(prepare_photo(data, geometry).astype(int) - expected).max() <= 4
    info = check_photo(data)
    assert (info.width_px, info.height_px) == size


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_modes_keep_their_colours(mode: str) -> None:
    data = encoded(smooth(500, 640).convert(mode), "JPEG", quality=95)
    assert 0 < difference(data) <= 4


def test_progressive_files_and_those_of_several_pictures_are_shrunk_too() -> None:
    photo = smooth(500, 640)
    assert 0 < difference(encoded(photo, "JPEG", quality=95, progressive=True)) <= 4
    several = encoded(photo, "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (64, 64))])
    assert 0 < difference(several) <= 4


@pytest.mark.parametrize("size", [(4 * LEAST_PX, 48 * LEAST_PX), (48 * LEAST_PX, 4 * LEAST_PX), (9, 5000)])
def test_long_strips(size: tuple[int, int]) -> None:
    data = encoded(smooth(*size), "JPEG", quality=95)
    assert prepare_photo(data, GEOMETRY).shape == (SIDE, SIDE, 3)
    assert difference(data) <= 6


def test_a_photo_is_described_by_its_own_size() -> None:
    data = encoded(photograph(900, 1203), "JPEG")
    info, pixels = read_photo(data, PhotoLimits(), GEOMETRY)
    assert (info.width_px, info.height_px) == (900, 1203)
    assert np.array_equal(pixels, prepare_photo(data, GEOMETRY))
    assert info == check_photo(data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_unreadable(share: float) -> None:
    data = encoded(photograph(900, 1203), "JPEG")
    with pytest.raises(PhotoUnreadable, match="damaged or incomplete"):
        prepare_photo(data[: int(len(data) * share)], GEOMETRY)


def test_the_whole_decode_is_that_of_the_image_processor() -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    data = encoded(photograph(900, 1203), "JPEG")
    processor = CLIPImageProcessorPil.from_pretrained(DEMO_MODEL, do_rescale=False, do_normalize=False)
    expected = processor(Image.open(BytesIO(data)))["pixel_values"][0].transpose(1, 2, 0)
    assert np.array_equal(prepare_photo(data, WHOLE), expected)
