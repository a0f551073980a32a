"""An encoder that sleeps for as long as a model would compute.

A vector is drawn from the text or the pixels themselves, so that answers can be held against the exact ones.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from threading import Lock
from typing import Self

import numpy as np

from models.search import TextEmbedding
from serve_app.ports import Pixels, Vector

VARIABLE = "BENCHMARK_SLEEPS"


@dataclass(frozen=True)
class Sleeps:
    """Seconds that the model takes for one prompt, and for one photo of a batch."""

    prompt_s: float
    photo_s: float

    def variable(self) -> dict[str, str]:
        """For the environment of the replicas."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def of_environment(cls) -> Self:
        return cls(**json.loads(os.environ[VARIABLE]))


class SleepingEncoder:
    """One call at a time, however many threads ask, as on a processor that is busy with the first."""

    bulk_calls = 1

    def __init__(self, dimension: int, sleeps: Sleeps) -> None:
        self.dimension, self._sleeps, self._busy = dimension, sleeps, Lock()

    def warm_up(self) -> None:
        """A sleep is never slow."""

    def embed_prompts(self, prompts: Sequence[str]) -> list[TextEmbedding]:
        with self._for(self._sleeps.prompt_s * len(prompts)):
            return [TextEmbedding(vector_of(text.encode(), self.dimension), False) for text in prompts]

    def encode_images(self, pixels: Pixels) -> Vector:
        with self._for(self._sleeps.photo_s * len(pixels)):
            return np.stack([vector_of(photo.tobytes(), self.dimension) for photo in pixels])

    @contextmanager
    def _for(self, seconds: float) -> Iterator[None]:
        """What is computed inside counts."""
        with self._busy:
            end = time.perf_counter() + seconds
            yield
            time.sleep(max(0.0, end - time.perf_counter()))


def vector_of(data: bytes, dimension: int) -> Vector:
    """(d,), of unit length, the same for the same bytes."""
    drawn = np.random.default_rng(list(sha256(data).digest())).normal(size=dimension)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def drawn_vectors(prompts: Sequence[str], dimension: int) -> Vector:
    """(n, d): what the encoder gives for these prompts."""
    return np.stack([vector_of(prompt.encode(), dimension) for prompt in prompts])
