"""Bytes of an upload → a checked photo → the square uint8 RGB array that the image tower takes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import PhotoEmpty, PhotoTooLarge, PhotoUnreadable
from serve_app.checkpoints import Preprocessing
from serve_app.photo_formats import MEDIA_TYPES, format_of

# By version of the preprocessing: whether large JPEGs are shrunk on load. A database that was indexed with a
# former version is served with that one until it is reindexed.
SHRINKS_ON_LOAD = {"p1": False, "p2": True}
PREPROCESSING_VERSION = "p2"
MAX_PIXELS = 25_000_000

# A JPEG is shrunk on load where its shortest edge has so many px, and keeps so many times the resized one:
# then its vector stays within cosine 0.999 of the whole decode's (docs/performance.md, "Photos"). Smaller
# files are sharper, pixel by pixel, and take less than a millisecond anyway.
LEAST_PX, LEAST_TIMES = 448, 1.78
# Resizing a strip of 1 x 25,000,000 px whole would take gigabytes. Past this ratio the square alone is
# computed: the same pixels, but for Pillow's order of passes, which rounds some to a neighbouring value.
_LONGEST_RESIZED = 8
DraftPx = Callable[[tuple[int, int]], int | None]
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
# Orientations in which turning upright reverses the stored rows' or columns' order.
_LEFT_TO_RIGHT_REVERSED, _TOP_TO_BOTTOM_REVERSED = {2, 3, 7, 8}, {3, 4, 6, 7}


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
    """Resize the shortest edge, then cut the central square, as the checkpoint's image processor does.

    ``shrinks``: whether a large JPEG is decoded at a half, a quarter or an eighth of its size.
    """

    shortest_edge_px: int
    crop_px: int
    resample: Image.Resampling = Image.Resampling.BICUBIC
    shrinks: bool = True

    @classmethod
    def of(cls, checkpoint: Path) -> Self:
        """Read it from a checkpoint directory; raises ConfigurationError."""
        found = Preprocessing.of(checkpoint)
        return cls(found.shortest_edge_px, found.crop_px, Image.Resampling(found.resample))

    def batch(self, photos: int) -> NDArray[np.uint8]:
        """Room for so many prepared photos: (photos, crop_px, crop_px, 3), of any content."""
        return np.empty((photos, self.crop_px, self.crop_px, 3), np.uint8)

    @property
    def least_decoded_px(self) -> int:
        """The edge that a JPEG keeps at least when it is shrunk on load."""
        return ceil(LEAST_TIMES * self.shortest_edge_px)

    def draft_px(self, photo_px: tuple[int, int]) -> int | None:
        """The same for a JPEG of this width and height; None where it is decoded whole."""
        return self.least_decoded_px if self.shrinks and min(photo_px) >= LEAST_PX else None


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A picture as its file stores it, perhaps not upright.

    ``size_px``: width and height in the file. ``extent``: what they are in ``picture``, which may be shrunk;
    its last column and row may reach beyond.
    """

    picture: Image.Image
    size_px: tuple[int, int]
    extent: tuple[float, float]

    @property
    def orientation(self) -> int:
        """EXIF orientation 1 to 8; damaged EXIF data counts as upright, since the pixels are fine."""
        try:
            value = int(self.picture.getexif().get(_ORIENTATION_TAG, 1))
        except _EXIF_ERRORS:
            return 1
        return value if value in _TRANSPOSED else 1

    @property
    def is_shrunk(self) -> bool:
        return self.extent != self.size_px


def check_photo(data: bytes, limits: PhotoLimits | None = None) -> PhotoInfo:
    """Decode ``data`` once, all of it, and describe it.

    Raises PhotoEmpty, PhotoTooLarge (before anything is decoded), PhotoTypeUnsupported, PhotoUnreadable.
    """
    return _read(data, limits or PhotoLimits(), lambda _: 1)[0]


def read_photo(
    data: bytes, limits: PhotoLimits, geometry: ImageGeometry
) -> tuple[PhotoInfo, NDArray[np.uint8]]:
    """``check_photo`` and ``prepare_photo`` in one, which decodes once. Raises as they do."""
    info, decoded = _read(data, limits, geometry.draft_px)
    return info, _prepared(decoded, geometry)


def prepare_photo(data: bytes, geometry: ImageGeometry, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode, turn upright, put over white, resize and crop: uint8 of shape (crop_px, crop_px, 3), RGB.

    Equal to transformers' CLIPImageProcessor (Pillow backend) up to rescaling and normalisation, which the
    encoder does on its device; but for JPEGs of ``LEAST_PX`` and of twice ``geometry.least_decoded_px`` or
    more in width and height: their decoder makes a smaller picture of the same bytes, and their vectors stay
    within cosine 0.999. Raises as ``check_photo`` does.
    """
    return _prepared(_decode(data, max_pixels, geometry.draft_px), geometry)


def _read(data: bytes, limits: PhotoLimits, draft_px: DraftPx) -> tuple[PhotoInfo, _Decoded]:
    if not data:
        raise PhotoEmpty("The photo is an empty file (0 bytes). Send the photo's content.")
    if len(data) > limits.max_bytes:
        raise PhotoTooLarge(
            f"The photo has {len(data):,} bytes; the limit is {limits.max_bytes:,}. Send a smaller or more "
            "compressed one."
        )
    decoded = _decode(data, limits.max_pixels, draft_px)
    width, height = decoded.size_px if decoded.orientation < 5 else decoded.size_px[::-1]
    info = PhotoInfo(MEDIA_TYPES[format_of(data)], width, height, hashlib.sha256(data).hexdigest())
    return info, decoded


def _decode(data: bytes, max_pixels: int, draft_px: DraftPx) -> _Decoded:
    """Parse the header with one decoder only, refuse on its size, then decode every byte.

    ``draft_px``: the least edge to which a JPEG of that size may be shrunk, if it may.
    """
    kind = format_of(data)
    try:
        picture = Image.open(BytesIO(data), formats=(kind,))
        width, height = picture.size
        if width * height > max_pixels:
            raise _too_many_pixels(max_pixels, f"{width} x {height} pixels")
        least_px = draft_px(picture.size)
        draft = picture.draft(None, (least_px, least_px)) if least_px is not None else None
        picture.load()
    except PhotoTooLarge:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(max_pixels, "far too many pixels") from error
    except Exception as error:
        raise _unreadable(error) from error
    extent = (width, height) if draft is None else draft[1][2:]
    return _Decoded(picture, (width, height), extent)


def _too_many_pixels(max_pixels: int, found: str) -> PhotoTooLarge:
    limit = f"{max_pixels / 1e6:g} megapixels"
    return PhotoTooLarge(f"The photo has {found}; the limit is {limit}. Send a smaller one.")


def _unreadable(error: Exception) -> PhotoUnreadable:
    """Whatever a decoder trips over, and they raise a dozen types, means damaged data to the sender."""
    return PhotoUnreadable(
        "The photo is damaged or incomplete and cannot be decoded. Open it in a viewer, save it again and "
        f"send that file. ({type(error).__name__})"
    )


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


def _prepared(decoded: _Decoded, geometry: ImageGeometry) -> NDArray[np.uint8]:
    shortest, longest = sorted(decoded.size_px)
    try:
        if decoded.is_shrunk or longest > _LONGEST_RESIZED * shortest:
            return np.asarray(_square(decoded, geometry))
        return np.asarray(_resized_and_cropped(decoded, geometry))
    except Exception as error:
        raise _unreadable(error) from error


def _resized_and_cropped(decoded: _Decoded, geometry: ImageGeometry) -> Image.Image:
    """In the order of transformers' image processor, pixel by pixel."""
    photo = _as_rgb(_upright(decoded.picture, decoded.orientation))
    (width, height), (left, top) = _target(photo.size, geometry)
    resized = photo.resize((width, height), geometry.resample)
    return resized.crop((left, top, left + geometry.crop_px, top + geometry.crop_px))


def _square(decoded: _Decoded, geometry: ImageGeometry) -> Image.Image:
    """The square that would be cut out, and nothing else; turned upright last, when it is small."""
    orientation, side = decoded.orientation, geometry.crop_px
    target, start = _target(decoded.size_px, geometry)
    is_reversed = orientation in _LEFT_TO_RIGHT_REVERSED, orientation in _TOP_TO_BOTTOM_REVERSED
    (left, right), (top, bottom) = (
        _span(begin if not backwards else size - side - begin, side, size, extent)
        for begin, backwards, size, extent in zip(start, is_reversed, target, decoded.extent, strict=True)
    )
    box = left, top, right, bottom
    square = _as_rgb(decoded.picture).resize((side, side), geometry.resample, box=box)
    return _upright(square, orientation)


def _span(begin: int, length: int, size: int, extent: float) -> tuple[float, float]:
    """Where so many of ``size`` px lie in a picture in which all of them take ``extent``."""
    return begin * extent / size, min((begin + length) * extent / size, extent)


def _target(size_px: tuple[int, int], geometry: ImageGeometry) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height to resize to, and the left and top edge of the central square."""
    width, height = size_px
    edge, side = geometry.shortest_edge_px, geometry.crop_px
    long = int(edge * max(width, height) / min(width, height))
    target = (edge, long) if width <= height else (long, edge)
    return target, ((target[0] - side) // 2, (target[1] - side) // 2)


def _upright(photo: Image.Image, orientation: int) -> Image.Image:
    return photo.transpose(_TRANSPOSED[orientation]) if orientation in _TRANSPOSED else photo
