"""How much a feed may hold."""

from __future__ import annotations

from dataclasses import dataclass

MAX_COLUMNS = 1_000
# A long text is parsed in no time and little memory; many small values are neither.
LONG_CHARS, MAX_MARKS = 100_000, 100_000
MAX_MEMBERS = 200_000
MAX_DIRECTORY_BYTES = 64 * 2**20  # 335 bytes for each of them
MAX_RATIO = 100  # photos hardly shrink, and feeds to a tenth
MIN_BOMB_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """``max_bytes``: of the feed, unpacked. ``max_photo_bytes``: of one photo, in a ZIP or in a row."""

    max_bytes: int = 2 * 2**30
    max_rows: int = 1_000_000
    max_photo_bytes: int = 20 * 2**20

    @property
    def max_record_chars(self) -> int:
        """Of one row with its photo as base64."""
        return self.max_photo_bytes * 3 // 2 + 2**20
