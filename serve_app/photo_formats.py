"""Which format a photo is in, by its first bytes: the name and type that a client claims do not count."""

from __future__ import annotations

from models.errors import PhotoTypeUnsupported

ACCEPTED_TYPES = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
MEDIA_TYPES = {
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


def format_of(data: bytes) -> str:
    """Pillow's name of the format. Raises PhotoTypeUnsupported."""
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
