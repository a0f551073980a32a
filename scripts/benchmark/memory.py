"""Memory of a large import: 100,000 CSV lines beside 1,000, the whole service's.

A fresh service for each, and a shop that sends one CSV over HTTP. Every line has a photo, small and in
base64; a few photos recur, yet each line's is stored, decoded, embedded and indexed for itself. All of the
service's processes are sampled from the upload to the end of the job (proportional set sizes: shared memory
counts once). What is compared is the highest sum of one moment. It has a limit without Chroma, which keeps
the vectors in memory, and PostgreSQL's shared buffers: both stay for the photos, however they came. The sum
with them is printed as well.

The bundled demo model embeds, unless --model names another: in memory that does not change with the lines.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from rich.table import Table

from scripts.benchmark.feeds import import_feed, write_csv
from scripts.benchmark.memory_use import BUFFERS, INDEX, MB, MemoryPeaks
from scripts.benchmark.photos import jpeg
from scripts.benchmark.workbench import workbench
from scripts.console import log
from scripts.measurement.report import Figure

MOST_MB = 300.0  # issue 5, "Must show"
DEMO_MODEL = Path(__file__).resolve().parents[2] / "assets" / "demo-clip"
PHOTOS = 64
SIDE_PX = 96
TIMEOUT_S = 3 * 3600.0


@dataclass(frozen=True)
class ImportPeaks:
    """Highest bytes: in all, without what stays, and of each part, which need not be of the same moment."""

    lines: int
    feed_bytes: int
    seconds: float
    total: int
    working: int
    parts: dict[str, int]


def measure(directory: Path, model: str | None, lines: tuple[int, int]) -> tuple[list[Figure], Any]:
    """The figures, and the peaks that they come from. Prints a table."""
    photos = [_small(number) for number in range(PHOTOS)]
    few, many = (_import(directory / f"{count}-lines", model, count, photos) for count in lines)
    _print(few, many, len(photos[0]))
    peaks = f"peak of importing {many.lines:,} lines less that of {few.lines:,}"
    figures = [
        *(Figure(f"peak of importing {one.lines:,} lines, MB", one.working / MB) for one in (few, many)),
        Figure(f"{peaks}, MB", (many.working - few.working) / MB, most=MOST_MB),
        Figure(f"the same with {INDEX} and {BUFFERS}, MB", (many.total - few.total) / MB),
    ]
    return figures, [asdict(few), asdict(many)]


def _import(directory: Path, model: str | None, lines: int, photos: list[bytes]) -> ImportPeaks:
    directory.mkdir()
    feed = write_csv(directory / "feed.csv", lines, photos)
    with workbench(directory, model or str(DEMO_MODEL)) as bench:
        shop = bench.new_shop("memory")
        bench.wait_until_quiet()
        started = time.perf_counter()
        with MemoryPeaks(bench.data, bench.pid) as peaks:
            import_feed(bench, shop, feed, TIMEOUT_S)
        seconds = time.perf_counter() - started
    log.print(f"{lines:,} lines: {seconds:.0f} s, {peaks.samples} samples")
    return ImportPeaks(lines, feed.stat().st_size, seconds, peaks.total, peaks.working, peaks.parts)


def _small(number: int) -> bytes:
    """The photos are small so that the file is; their number of lines is what matters."""
    buffer = BytesIO()
    Image.open(BytesIO(jpeg([number]))).resize((SIDE_PX, SIDE_PX)).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def _print(few: ImportPeaks, many: ImportPeaks, photo_bytes: int) -> None:
    log.print(
        f"Every line with a JPEG of {SIDE_PX} x {SIDE_PX} px in base64, some {photo_bytes:,} bytes, {PHOTOS} "
        f"different ones; files of {few.feed_bytes / 1e6:.1f} and {many.feed_bytes / 1e6:.1f} MB"
    )
    table = Table(
        *("part", f"{few.lines:,} lines", f"{many.lines:,} lines", "more"), title="Highest memory (PSS), MB"
    )
    for part in sorted(few.parts.keys() | many.parts.keys()):
        _row(table, part, few.parts.get(part, 0), many.parts.get(part, 0))
    _row(table, "all at one moment", few.total, many.total)
    _row(table, "without what stays", few.working, many.working)
    log.print(table)


def _row(table: Table, name: str, few: int, many: int) -> None:
    table.add_row(name, *(f"{size / MB:.1f}" for size in (few, many, many - few)))
