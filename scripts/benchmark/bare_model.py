"""One tower alone, in a process of its own: no Ray, no HTTP, no database.

    python -m scripts.benchmark.bare_model CHECKPOINT EMBEDDER_ARGS [PHOTOS]

EMBEDDER_ARGS is JSON, as in a config's ``text_embedder``; PHOTOS a directory of JPEGs, for the image tower.
Each line of standard input is a number of items and a batch size; each answer one JSON object with what they
took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from configs.serving import EmbedderArgs
from scripts.benchmark.prompts import distinct_prompts

PROMPTS = 512
LARGEST_BATCH = 64


@dataclass(frozen=True, slots=True)
class BareRound:
    """``items``: photos or prompts; ``times_s``: of each batch.

    ``decode_s``: processor time of preparing one photo, as the workers do; the rate leaves it out.
    """

    items: int
    seconds: float
    cpu_s: float
    decode_s: float
    times_s: list[float]

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.items / self.seconds


class BareModel(AbstractContextManager["BareModel"]):
    """The process, as this one sees it; it waits between rounds and takes no processor time then."""

    def __init__(self, checkpoint: Path, args: EmbedderArgs, photos: Path | None = None) -> None:
        """With ``photos`` the image tower, without them the text tower."""
        words = [str(checkpoint), args.model_dump_json()]
        command = [sys.executable, "-m", "scripts.benchmark.bare_model", *words]
        self._process = subprocess.Popen(
            [*command, *([] if photos is None else [str(photos)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def measure(self, items: int, batch: int) -> BareRound:
        """Embed ``items`` in a loop, ``batch`` at a time."""
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None:
            raise AssertionError("both are pipes")
        asked.write(f"{items} {batch}\n")
        asked.flush()
        return BareRound(**json.loads(answers.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=30)


def serve(checkpoint: Path, args: EmbedderArgs, photos: Path | None) -> None:
    """Answer rounds until standard input ends."""
    encode, items, decode_s = (
        _text_tower(checkpoint, args) if photos is None else _image_tower(checkpoint, args, photos)
    )
    encode(items[:1])
    for line in sys.stdin:
        count, batch = map(int, line.split())
        sys.stdout.write(json.dumps(asdict(_round(encode, items, batch, count, decode_s))) + "\n")
        sys.stdout.flush()


def _text_tower(checkpoint: Path, args: EmbedderArgs) -> tuple[Callable[[Any], Any], Any, float]:
    from serve_app.encoder import FashionClipEncoder

    encoder = FashionClipEncoder.load(checkpoint, towers=["text"], dtype=args.dtype, threads=args.threads)
    return encoder.embed_prompts, list(islice(distinct_prompts(0), PROMPTS)), 0.0


def _image_tower(
    checkpoint: Path, args: EmbedderArgs, photos: Path
) -> tuple[Callable[[Any], Any], Any, float]:
    from serve_app.encoder import FashionClipEncoder
    from serve_app.photos import ImageGeometry, prepare_photo

    encoder = FashionClipEncoder.load(checkpoint, towers=["image"], dtype=args.dtype, threads=args.threads)
    prepare = partial(prepare_photo, geometry=ImageGeometry.of(checkpoint))
    files = sorted(photos.glob("*.jpg"))[:LARGEST_BATCH]
    started = time.process_time()
    pixels = np.stack([prepare(path.read_bytes()) for path in files])
    return encoder.encode_images, pixels, (time.process_time() - started) / len(files)


def _round(encode: Callable[[Any], Any], stock: Any, batch: int, items: int, decode_s: float) -> BareRound:
    times_s: list[float] = []
    started, started_cpu = time.perf_counter(), time.process_time()
    for start in range(0, items, batch):
        first = start % (len(stock) - batch + 1)
        began = time.perf_counter()
        encode(stock[first : first + min(batch, items - start)])
        times_s.append(time.perf_counter() - began)
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    return BareRound(items, seconds, cpu_s, decode_s, times_s)


if __name__ == "__main__":
    where, of_args, *of_photos = sys.argv[1:]
    serve(
        Path(where),
        EmbedderArgs.model_validate_json(of_args),
        Path(of_photos[0]) if of_photos else None,
    )
