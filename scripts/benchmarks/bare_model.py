"""The image tower alone, in a process of its own: no Ray, no HTTP, no database.

    python -m scripts.benchmarks.bare_model CHECKPOINT PHOTOS BATCH THREADS DTYPE

Each line of standard input is a number of photos; each answer one JSON object with what they took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from configs.serving import EmbedderArgs


@dataclass(frozen=True, slots=True)
class BareRound:
    """``decode_s``: processor time of preparing one photo, as the workers do; the rate leaves it out."""

    photos: int
    seconds: float
    cpu_s: float
    decode_s: float

    @property
    def rate(self) -> float:
        """Photos per second."""
        return self.photos / self.seconds


class BareModel(AbstractContextManager["BareModel"]):
    """The process, as this one sees it; it waits between rounds and takes no processor time then."""

    def __init__(self, checkpoint: Path, photos: Path, batch: int, args: EmbedderArgs) -> None:
        words = [str(checkpoint), str(photos), str(batch), str(args.threads or 1), args.dtype]
        command = [sys.executable, "-m", "scripts.benchmarks.bare_model", *words]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def measure(self, photos: int) -> BareRound:
        """Embed ``photos`` in a loop."""
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None:
            raise AssertionError("both are pipes")
        asked.write(f"{photos}\n")
        asked.flush()
        return BareRound(**json.loads(answers.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=30)


def serve(checkpoint: Path, photos: Path, batch: int, args: EmbedderArgs) -> None:
    """Answer rounds until standard input ends."""
    from serve_app.encoder import FashionClipEncoder, Tower
    from serve_app.photos import ImageGeometry, prepare_photo

    tower: Tower = "image"
    encoder = FashionClipEncoder.load(checkpoint, towers=(tower,), dtype=args.dtype, threads=args.threads)
    geometry = ImageGeometry.of(checkpoint)
    files = sorted(photos.glob("*.jpg"))[: 4 * batch]
    started = time.process_time()
    pixels = np.stack([prepare_photo(path.read_bytes(), geometry) for path in files])
    decode_s = (time.process_time() - started) / len(files)
    encoder.encode_images(pixels[:batch])
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asdict(_round(encoder, pixels, batch, int(line), decode_s))) + "\n")
        sys.stdout.flush()


def _round(encoder: Any, pixels: Any, batch: int, photos: int, decode_s: float) -> BareRound:
    started, started_cpu = time.perf_counter(), time.process_time()
    for start in range(0, photos, batch):
        first = start % (len(pixels) - batch + 1)
        encoder.encode_images(pixels[first : first + min(batch, photos - start)])
    return BareRound(photos, time.perf_counter() - started, time.process_time() - started_cpu, decode_s)


if __name__ == "__main__":
    where, of_photos, of_batch, of_threads, of_dtype = sys.argv[1:]
    serve(
        Path(where),
        Path(of_photos),
        int(of_batch),
        EmbedderArgs.model_validate({"threads": int(of_threads), "dtype": of_dtype}),
    )
