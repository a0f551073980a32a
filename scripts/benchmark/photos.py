"""Photos of a size that shops upload: smooth areas, edges and the noise of a camera."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH_PX, HEIGHT_PX = 800, 1000
JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A JPEG of ``WIDTH_PX`` by ``HEIGHT_PX``."""

    path: Path
    sha256: str
    size_bytes: int


def write_photos(directory: Path, count: int, seed: int = 0) -> list[PhotoFile]:
    """``count`` photos, each another one."""
    directory.mkdir(parents=True, exist_ok=True)
    return [_write(directory / f"{seed}-{number:06}.jpg", [seed, number]) for number in range(count)]


def jpeg(seed: list[int], size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX)) -> bytes:
    """One photo, the same for the same seed and size."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size_px, Image.Resampling.BICUBIC)).astype(np.int16)
    pixels = smooth + random.integers(-12, 13, smooth.shape, dtype=np.int16)
    top, left = random.integers(100, 400, 2)
    pixels[top : top + 400, left : left + 300] = random.integers(0, 256, 3)
    buffer = BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _write(path: Path, seed: list[int]) -> PhotoFile:
    data = jpeg(seed)
    path.write_bytes(data)
    return PhotoFile(path, sha256(data).hexdigest(), len(data))
