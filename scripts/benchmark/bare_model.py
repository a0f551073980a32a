"""One tower alone, in a process of its own: no Ray, no HTTP, no database.

    python -m scripts.benchmark.bare_model CHECKPOINT EMBEDDER_ARGS [PHOTOS]

EMBEDDER_ARGS is JSON, as in a config's ``text_embedder``; PHOTOS a directory of JPEGs, for the image tower.
Each line of standard input is a number of items, a batch size and whether photos are read and prepared as
well (1) or ready as pixels (0); each answer one JSON object with what they took.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from configs.serving import EmbedderArgs
from scripts.benchmark.line_process import LineProcess, answer_lines
from scripts.benchmark.prompts import distinct_prompts

PROMPTS = 512
LARGEST_BATCH = 64
Encode = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class BareRound:
    """``items``: photos or prompts; ``times_s``: of each batch.

    ``decode_s``: processor time of preparing one photo, as the workers do; the rate leaves it out unless the
    round was one from files.
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

    @property
    def core_ms(self) -> float:
        """Processor time of one item, in milliseconds."""
        return 1000 * self.cpu_s / self.items


class BareModel(LineProcess):
    """The process, as this one sees it."""

    def __init__(self, checkpoint: Path, args: EmbedderArgs, photos: Path | None = None) -> None:
        """With ``photos`` the image tower, without them the text tower."""
        words = [str(checkpoint), args.model_dump_json(), *([] if photos is None else [str(photos)])]
        super().__init__("scripts.benchmark.bare_model", *words)

    def measure(self, items: int, batch: int, *, from_files: bool = False) -> BareRound:
        """Embed ``items`` in a loop, ``batch`` at a time; ``from_files``: photos are prepared in it, too."""
        return BareRound(**self.ask(items, batch, int(from_files)))


@dataclass(frozen=True, slots=True)
class _Loop:
    """``encode`` of ``stock``; or of ``files``, which ``prepare`` makes into what is encoded."""

    encode: Encode
    stock: Any
    files: Sequence[Path] = ()
    prepare: Callable[[Path], Any] = Path
    decode_s: float = 0.0

    def round(self, items: int, batch: int, *, from_files: bool) -> BareRound:
        encode, stock = (self._encode_files, self.files) if from_files else (self.encode, self.stock)
        times_s: list[float] = []
        started, started_cpu = time.perf_counter(), time.process_time()
        for start in range(0, items, batch):
            first = start % (len(stock) - batch + 1)
            began = time.perf_counter()
            encode(stock[first : first + min(batch, items - start)])
            times_s.append(time.perf_counter() - began)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
        return BareRound(items, seconds, cpu_s, self.decode_s, times_s)

    def _encode_files(self, files: Sequence[Path]) -> Any:
        return self.encode(np.stack([self.prepare(path) for path in files]))


def serve(checkpoint: Path, args: EmbedderArgs, photos: Path | None) -> None:
    """Answer rounds until standard input ends."""
    loop = _text_tower(checkpoint, args) if photos is None else _image_tower(checkpoint, args, photos)
    loop.encode(loop.stock[:1])
    answer_lines(
        lambda words: asdict(loop.round(int(words[0]), int(words[1]), from_files=bool(int(words[2]))))
    )


def _text_tower(checkpoint: Path, args: EmbedderArgs) -> _Loop:
    from serve_app.encoder import FashionClipEncoder

    encoder = FashionClipEncoder.load(
        checkpoint,
        towers=["text"],
        device=args.device,
        dtype=args.dtype,
        threads=args.threads,
        backend=args.backend,
    )
    return _Loop(encoder.embed_prompts, list(islice(distinct_prompts(0), PROMPTS)))


def _image_tower(checkpoint: Path, args: EmbedderArgs, photos: Path) -> _Loop:
    from serve_app.encoder import FashionClipEncoder
    from serve_app.photos import ImageGeometry, prepare_photo

    encoder = FashionClipEncoder.load(
        checkpoint,
        towers=["image"],
        device=args.device,
        dtype=args.dtype,
        threads=args.threads,
        backend=args.backend,
    )
    prepare = partial(prepare_photo, geometry=ImageGeometry.of(checkpoint))
    files = sorted(photos.glob("*.jpg"))[:LARGEST_BATCH]
    started = time.process_time()
    pixels = np.stack([prepare(path.read_bytes()) for path in files])
    decode_s = (time.process_time() - started) / len(files)
    return _Loop(encoder.encode_images, pixels, files, lambda path: prepare(path.read_bytes()), decode_s)


if __name__ == "__main__":
    where, of_args, *of_photos = sys.argv[1:]
    serve(
        Path(where),
        EmbedderArgs.model_validate_json(of_args),
        Path(of_photos[0]) if of_photos else None,
    )
