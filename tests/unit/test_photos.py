"""Photo checks and preparation, with Pillow as the writer and transformers' own processor as the oracle."""

from __future__ import annotations

import hashlib
import struct
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models.errors import PhotoEmpty, PhotoTooLarge, PhotoTypeUnsupported, PhotoUnreadable
from serve_app.photos import ImageGeometry, PhotoLimits, check_photo, prepare_photo
from tests.photographs import STORED, encoded, photograph

SIDE = 64
GEOMETRY = ImageGeometry(shortest_edge_px=SIDE, crop_px=SIDE)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def _oracle(photo: Image.Image, geometry: ImageGeometry = GEOMETRY) -> NDArray[np.uint8]:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(
        size={"shortest_edge": geometry.shortest_edge_px},
        crop_size={"height": geometry.crop_px, "width": geometry.crop_px},
        do_rescale=False,
        do_normalize=False,
    )
    pixels: NDArray[np.uint8] = processor(photo)["pixel_values"][0]
    return pixels.transpose(1, 2, 0)


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (300, 201),
        (201, 300),
        (64, 64),
        (64, 99),
        (99, 64),
        (65, 64),
        (40, 33),
        (7, 5),
        (1000, 65),
        (333, 777),
    ],
)
@pytest.mark.parametrize("geometry", [GEOMETRY, ImageGeometry(72, 64), ImageGeometry(73, 64)])
def test_pixels_equal_the_image_processor_of_transformers(
    width: int, height: int, geometry: ImageGeometry
) -> None:
    photo = photograph(width, height)
    ours = prepare_photo(encoded(photo, "PNG"), geometry)
    assert _difference(ours, _oracle(photo, geometry)) <= (
        8 if max(width, height) > 8 * min(width, height) else 0
    )
    assert np.ptp(ours) > 50


@pytest.mark.parametrize("kind", FORMATS)
def test_every_accepted_format_is_described(kind: str) -> None:
    data = encoded(photograph(90, 60), kind)
    info = check_photo(data)
    assert (info.media_type, info.width_px, info.height_px) == (f"image/{kind.lower()}", 90, 60)
    assert info.sha256 == hashlib.sha256(data).hexdigest()
    assert _difference(prepare_photo(data, GEOMETRY), _oracle(Image.open(BytesIO(data)))) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(orientation: int, kind: str) -> None:
    upright = photograph(96, 160)
    stored = upright.transpose(STORED[orientation]) if orientation in STORED else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless: dict[str, dict[str, int]] = {
        "WEBP": {"lossless": True, "exact": True},
        "JPEG": {"quality": 100, "subsampling": 0},
    }
    data = encoded(stored, kind, exif=exif, **lossless.get(kind, {}))
    info = check_photo(data)
    assert (info.width_px, info.height_px) == (96, 160)
    assert _difference(prepare_photo(data, GEOMETRY), _oracle(upright)) <= (8 if kind == "JPEG" else 0)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_damaged_exif_counts_as_upright() -> None:
    photo = photograph(96, 160)
    data = encoded(photo, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f garbage")
    assert (check_photo(data).width_px, prepare_photo(data, GEOMETRY).shape) == (96, (SIDE, SIDE, 3))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_becomes_white(mode: str) -> None:
    photo = photograph(80, 80).convert("RGBA")
    alpha = Image.new("L", photo.size, 255)
    alpha.paste(0, (0, 0, 40, 80))
    photo.putalpha(alpha)
    photo = photo.convert("RGB").convert("P").convert("PA") if mode == "PA" else photo.convert(mode)
    if mode == "PA":
        photo.putalpha(alpha)
    pixels = prepare_photo(encoded(photo, "TIFF" if mode == "PA" else "PNG"), GEOMETRY)
    assert (pixels[:, :28] == 255).all()
    assert pixels[:, 36:].mean() < 250


def test_palette_with_a_transparent_colour_becomes_white() -> None:
    photo = Image.new("P", (80, 80), 1)
    photo.putpalette([0, 0, 0, 200, 10, 10])
    photo.paste(0, (0, 0, 40, 80))
    for kind in ("GIF", "PNG"):
        pixels = prepare_photo(encoded(photo, kind, transparency=0), GEOMETRY)
        assert (pixels[:, :28] == 255).all()
        assert (pixels[:, 36:] == (200, 10, 10)).all()


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    photo = Image.new("RGBA", (80, 80), (200, 0, 100, 128))
    pixels = prepare_photo(encoded(photo, "PNG"), GEOMETRY)
    assert _difference(pixels, np.broadcast_to(np.array([227, 127, 177], np.uint8), pixels.shape)) <= 1


def test_cmyk_as_adobe_writes_it_keeps_its_colours() -> None:
    red = Image.new("RGB", (80, 80), (220, 30, 40))
    pixels = prepare_photo(encoded(red.convert("CMYK"), "JPEG", quality=95), GEOMETRY)
    assert _difference(pixels, np.asarray(red.resize((SIDE, SIDE)))) <= 6


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.tile(np.linspace(0, 65535, 128).astype(np.uint16), (128, 1))
    for kind in ("PNG", "TIFF"):
        pixels = prepare_photo(encoded(Image.fromarray(ramp), kind), GEOMETRY)
        assert _difference(pixels[:, :, 0], np.tile(_downscaled_ramp(), (SIDE, 1))) <= 2
        assert (pixels[:, :, 0] == pixels[:, :, 2]).all()


def _downscaled_ramp() -> NDArray[np.uint8]:
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 128).round().astype(np.uint8), (2, 1)))
    row: NDArray[np.uint8] = np.asarray(ramp.resize((SIDE, 2), Image.Resampling.BICUBIC))[0]
    return row


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0, 1e9])
def test_float_and_32_bit_grey_use_their_own_range(top: float) -> None:
    ramp = np.tile(np.linspace(0, top, 128, dtype=np.float32), (128, 1))
    images = (
        [Image.fromarray(ramp)]
        if top == 1
        else [Image.fromarray(ramp), Image.fromarray(ramp.astype(np.int32))]
    )
    for image in images:
        pixels = prepare_photo(encoded(image, "TIFF"), GEOMETRY)
        assert _difference(pixels[:, :, 1], np.tile(_downscaled_ramp(), (SIDE, 1))) <= 2


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (70, 70), colour) for colour in ("#00ff00", "#ff0000")]
    for kind in ("GIF", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        assert prepare_photo(data, GEOMETRY)[SIDE // 2, SIDE // 2].tolist()[:1] < [20]


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>",
        b"<?xml version='1.0'?>\n<svg/>",
        b"<!doctype html><html><body>not found</body></html>",
        b"%PDF-1.7\n%\xe2\xe3",
        b"BMW is not a bitmap, whatever its first letters say",
        b"just some text",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0",
        encoded(Image.new("RGB", (20, 20)), "ICO"),
    ],
)
def test_what_is_no_photo_is_unsupported(data: bytes) -> None:
    with pytest.raises(PhotoTypeUnsupported, match="JPEG, PNG"):
        check_photo(data)


def test_an_svg_is_named_as_such() -> None:
    with pytest.raises(PhotoTypeUnsupported, match="looks like an SVG"):
        check_photo(b"<?xml version='1.0'?><SVG/>")


def test_an_empty_file_is_named_as_such() -> None:
    with pytest.raises(PhotoEmpty, match="0 bytes"):
        check_photo(b"")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_a_truncated_photo_is_unreadable(kind: str, share: float) -> None:
    data = encoded(photograph(160, 120), kind)
    with pytest.raises(PhotoUnreadable, match="damaged or incomplete"):
        check_photo(data[: int(len(data) * share)])


def test_too_many_bytes() -> None:
    data = encoded(photograph(90, 60), "PNG")
    assert check_photo(data, PhotoLimits(max_bytes=len(data))).width_px == 90
    with pytest.raises(PhotoTooLarge, match=f"{len(data):,} bytes"):
        check_photo(data, PhotoLimits(max_bytes=len(data) - 1))


def test_too_many_pixels() -> None:
    data = encoded(photograph(90, 60), "PNG")
    assert check_photo(data, PhotoLimits(max_pixels=90 * 60)).width_px == 90
    with pytest.raises(PhotoTooLarge, match="90 x 60"):
        check_photo(data, PhotoLimits(max_pixels=90 * 60 - 1))
    with pytest.raises(PhotoTooLarge):
        prepare_photo(data, GEOMETRY, max_pixels=90 * 60 - 1)


def _png_bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises far more pixels than it holds."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [5_001, 10_000, 13_000, 60_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(PhotoTooLarge, match="25 megapixels"):
        check_photo(_png_bomb(side, side))


def test_an_extreme_aspect_ratio_costs_no_more_than_its_square() -> None:
    photo = Image.new("RGB", (200_000, 2), "#336699")
    pixels = prepare_photo(encoded(photo, "PNG"), GEOMETRY)
    assert (pixels == (0x33, 0x66, 0x99)).all()


modes = st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
_relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(mode=modes, width=st.integers(1, 90), height=st.integers(1, 90), edge=st.integers(8, 80))
@_relaxed
def test_every_mode_becomes_a_square_of_rgb_bytes(mode: str, width: int, height: int, edge: int) -> None:
    photo = photograph(width, height)
    if mode in ("I;16", "F", "I"):
        photo = photo.convert("L").convert("I").convert(mode)
    elif mode == "LAB":
        photo = Image.frombytes("LAB", photo.size, photo.tobytes())
    else:
        photo = photo.convert(mode)
    data = encoded(photo, "TIFF")
    assert check_photo(data).media_type == "image/tiff"
    pixels = prepare_photo(data, ImageGeometry(edge, edge - 3))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (edge - 3, edge - 3, 3)


def _ends_well(data: bytes) -> None:
    with suppress(PhotoEmpty, PhotoTooLarge, PhotoTypeUnsupported, PhotoUnreadable):
        check_photo(data)
        assert prepare_photo(data, GEOMETRY).shape == (SIDE, SIDE, 3)


signatures = st.sampled_from(
    [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"MM\0*", b"BM"]
)


@given(head=signatures, tail=st.binary(max_size=400))
@_relaxed
def test_any_bytes_give_a_photo_or_an_error_for_the_sender(head: bytes, tail: bytes) -> None:
    _ends_well(head + tail)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", FORMATS)
def test_flipped_bytes_give_a_photo_or_an_error_for_the_sender(kind: str) -> None:
    original = encoded(photograph(50, 40), kind)

    @given(
        changes=st.lists(
            st.tuples(st.integers(0, len(original) - 1), st.integers(0, 255)), min_size=1, max_size=6
        )
    )
    @settings(_relaxed, max_examples=40)
    def run(changes: list[tuple[int, int]]) -> None:
        damaged = bytearray(original)
        for position, value in changes:
            damaged[position] = value
        _ends_well(bytes(damaged))

    run()
