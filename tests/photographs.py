"""Pictures for tests that have a photo's statistics: smooth areas, edges and some noise."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

# By EXIF orientation: what a picture is turned by in its file.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture of (width, height) px, the same for the same arguments."""
    random = np.random.default_rng([seed, width, height])
    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels = pixels + random.integers(-12, 13, pixels.shape, dtype=np.int16)
    pixels[height // 4 : height // 2, width // 4 : 3 * width // 4] = random.integers(0, 256, 3)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def encoded(photo: Image.Image, kind: str, **options: Any) -> bytes:
    """``photo`` as the bytes of a file of Pillow's format ``kind``."""
    buffer = BytesIO()
    photo.save(buffer, kind, **options)
    return buffer.getvalue()
