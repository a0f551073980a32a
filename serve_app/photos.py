"""Bytes of an upload → a checked photo → the square uint8 RGB array that the image tower takes."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import PhotoEmpty, PhotoTooLarge, PhotoTypeUnsupported, PhotoUnreadable
from serve_app.checkpoints import Preprocessing

PREPROCESSING_VERSION = "p1"
MAX_PIXELS = 25_000_000
ACCEPTED_TYPES = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"

# Resizing a strip of 1 x 25,000,000 px whole would take gigabytes. Past this ratio the square alone is
# computed: the same pixels, but for Pillow's order of passes, which rounds some to a neighbouring value.
_LONGEST_RESIZED = 8
_ORIENTATION_TAG = 0x0112
_EXIF_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    Warning,
)
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}
_OTHER_TYPES = (
    (b"%pdf", "a PDF"),
    (b"<svg", "an SVG drawing"),
    (b"<html", "a web page"),
    (b"ftyphei", "HEIC"),
)


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    max_bytes: int = 20 * 2**20
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """Width and height are those that a viewer shows, after the EXIF orientation."""

    media_type: str
    width_px: int
    height_px: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ImageGeometry:
    """Resize the shortest edge, then cut the central square, as the checkpoint's image processor does."""

    shortest_edge_px: int
    crop_px: int
    resample: Image.Resampling = Image.Resampling.BICUBIC

    @classmethod
    def of(cls, checkpoint: Path) -> Self:
        """Read it from a checkpoint directory; raises ConfigurationError."""
        found = Preprocessing.of(checkpoint)
        return cls(found.shortest_edge_px, found.crop_px, Image.Resampling(found.resample))


def check_photo(data: bytes, limits: PhotoLimits | None = None) -> PhotoInfo:
    """Decode ``data`` once, all of it, and describe it.

    Raises PhotoEmpty, PhotoTooLarge (before anything is decoded), PhotoTypeUnsupported, PhotoUnreadable.
    """
    return _read(data, limits or PhotoLimits(), is_draft=True)[0]


def read_photo(
    data: bytes, limits: PhotoLimits, geometry: ImageGeometry
) -> tuple[PhotoInfo, NDArray[np.uint8]]:
    """``check_photo`` and ``prepare_photo`` in one, which decodes once. Raises as they do."""
    info, photo = _read(data, limits)
    return info, _prepared(photo, geometry)


def prepare_photo(data: bytes, geometry: ImageGeometry, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode, turn upright, put over white, resize and crop: uint8 of shape (crop_px, crop_px, 3), RGB.

    Equal to transformers' CLIPImageProcessor (Pillow backend) up to rescaling and normalisation, which the
    encoder does on its device. Raises as ``check_photo`` does.
    """
    return _prepared(_decode(data, max_pixels)[0], geometry)


def _read(data: bytes, limits: PhotoLimits, *, is_draft: bool = False) -> tuple[PhotoInfo, Image.Image]:
    if not data:
        raise PhotoEmpty("The photo is an empty file (0 bytes). Send the photo's content.")
    if len(data) > limits.max_bytes:
        raise PhotoTooLarge(
            f"The photo has {len(data):,} bytes; the limit is {limits.max_bytes:,}. Send a smaller or more "
            "compressed one."
        )
    photo, (width, height) = _decode(data, limits.max_pixels, is_draft=is_draft)
    if _orientation(photo) >= 5:
        width, height = height, width
    info = PhotoInfo(_MEDIA_TYPES[_format_of(data)], width, height, hashlib.sha256(data).hexdigest())
    return info, photo


def _prepared(photo: Image.Image, geometry: ImageGeometry) -> NDArray[np.uint8]:
    try:
        return np.asarray(_resize_and_crop(_as_rgb(_upright(photo)), geometry))
    except Exception as error:
        raise _unreadable(error) from error


def _decode(data: bytes, max_pixels: int, *, is_draft: bool = False) -> tuple[Image.Image, tuple[int, int]]:
    """Parse the header with one decoder only, refuse on its size, then decode every byte; also the size.

    ``is_draft``: a JPEG at an eighth of its size, which its decoder computes from the same bytes.
    """
    kind = _format_of(data)
    try:
        photo = Image.open(BytesIO(data), formats=(kind,))
        width, height = photo.size
        if width * height > max_pixels:
            raise _too_many_pixels(max_pixels, f"{width} x {height} pixels")
        if is_draft:
            photo.draft(None, (max(1, width // 8), max(1, height // 8)))
        photo.load()
    except PhotoTooLarge:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(max_pixels, "far too many pixels") from error
    except Exception as error:
        raise _unreadable(error) from error
    return photo, (width, height)


def _too_many_pixels(max_pixels: int, found: str) -> PhotoTooLarge:
    limit = f"{max_pixels / 1e6:g} megapixels"
    return PhotoTooLarge(f"The photo has {found}; the limit is {limit}. Send a smaller one.")


def _unreadable(error: Exception) -> PhotoUnreadable:
    """Whatever a decoder trips over, and they raise a dozen types, means damaged data to the sender."""
    return PhotoUnreadable(
        "The photo is damaged or incomplete and cannot be decoded. Open it in a viewer, save it again and "
        f"send that file. ({type(error).__name__})"
    )


def _format_of(data: bytes) -> str:
    """Pillow's name of the format, from the first bytes: the name and type a client claims do not count."""
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in (b"avif", b"avis")):
        return "AVIF"
    head = data[:1024].lower()
    guess = next((f" (it looks like {name})" for mark, name in _OTHER_TYPES if mark in head), "")
    raise PhotoTypeUnsupported(
        f"The file is not a photo that can be read here{guess}. Send {ACCEPTED_TYPES}."
    )


def _orientation(photo: Image.Image) -> int:
    """EXIF orientation 1 to 8; damaged EXIF data counts as upright, since the pixels are fine."""
    try:
        value = int(photo.getexif().get(_ORIENTATION_TAG, 1))
    except _EXIF_ERRORS:
        return 1
    return value if value in _TRANSPOSED else 1


def _upright(photo: Image.Image) -> Image.Image:
    orientation = _orientation(photo)
    return photo.transpose(_TRANSPOSED[orientation]) if orientation in _TRANSPOSED else photo


def _as_rgb(photo: Image.Image) -> Image.Image:
    if photo.mode.startswith(("I", "F")):
        photo = _as_eight_bit(photo)
    if "A" in photo.mode or "a" in photo.mode or "transparency" in photo.info:
        photo = photo.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
    return photo if photo.mode == "RGB" else photo.convert("RGB")


def _as_eight_bit(photo: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and float grey to 0..255; Pillow's own conversion clips at 255 instead."""
    values = np.nan_to_num(np.asarray(photo).astype(np.float32))
    if photo.mode.startswith("I;16"):
        white = 65535.0
    else:
        tops = (1.0, 255.0, 65535.0) if photo.mode == "F" else (255.0, 65535.0)
        highest = float(values.max())
        white = next((top for top in tops if highest <= top), highest)
    return Image.fromarray(np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8))


def _resize_and_crop(photo: Image.Image, geometry: ImageGeometry) -> Image.Image:
    width, height = photo.size
    edge, side = geometry.shortest_edge_px, geometry.crop_px
    long = int(edge * max(width, height) / min(width, height))
    new_width, new_height = (edge, long) if width <= height else (long, edge)
    left, top = (new_width - side) // 2, (new_height - side) // 2
    if long <= _LONGEST_RESIZED * edge:
        resized = photo.resize((new_width, new_height), geometry.resample)
        return resized.crop((left, top, left + side, top + side))
    x, y = width / new_width, height / new_height
    box = (left * x, top * y, min((left + side) * x, width), min((top + side) * y, height))
    return photo.resize((side, side), geometry.resample, box=box)
