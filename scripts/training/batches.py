"""Training batches, drawn afresh at every step: no picture and no caption is shown twice."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTokenizer

from scripts.garments.captions import caption
from scripts.garments.picture import Look, draw, random_look
from scripts.garments.vocabulary import COLOURS, KINDS, LENGTHS, PATTERNS, SLEEVES

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": COLOURS,
    "pattern": PATTERNS,
    "sleeve": SLEEVES["dress"],
    "length": LENGTHS["dress"],
}
UNSAID = -100  # what cross_entropy ignores
LONGEST = 24  # tokens of a training caption; few have more


class Batch(NamedTuple):
    """`pixels` uint8 (n, S, S, 3); `tokens`, `mask` int64 (n, t); `seen`, `said` int64 (n, 5)."""

    pixels: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor
    seen: torch.Tensor
    said: torch.Tensor


def numbers(attributes: dict[str, str]) -> list[int]:
    """The attributes as class numbers in the order of `ATTRIBUTES`."""
    return [
        values.index(attributes[name]) if name in attributes else UNSAID
        for name, values in ATTRIBUTES.items()
    ]


def snapshot(rng: Random, look: Look, side_px: int) -> Image.Image:
    """A drawing at some larger size, reduced as the image processor reduces a photo."""
    drawn_px = int(side_px * rng.choice((1.5, 2, 2.5)))
    return draw(look, rng, (drawn_px, drawn_px), oversampling=1).resize(
        (side_px, side_px), Image.Resampling.BICUBIC
    )


class DrawnBatches(Dataset[Batch]):
    """Batch number `step` of the run with `seed`: the same two give the same batch."""

    def __init__(self, seed: int, batch: int, side_px: int, tokenizer: CLIPTokenizer) -> None:
        self.seed, self.batch, self.side_px, self.tokenizer = seed, batch, side_px, tokenizer

    def __getitem__(self, step: int) -> Batch:
        rng = Random(f"train:{self.seed}:{step}")
        looks = [random_look(rng) for _ in range(self.batch)]
        pictures = [np.asarray(snapshot(rng, look, self.side_px)) for look in looks]
        captions = [caption(rng, look) for look in looks]
        encoded = self.tokenizer(
            [each.text for each in captions],
            padding=True,
            truncation=True,
            max_length=LONGEST,
            pad_to_multiple_of=8,
            return_tensors="pt",
        )
        return Batch(
            torch.from_numpy(np.stack(pictures)),
            encoded["input_ids"],
            encoded["attention_mask"],
            torch.tensor([numbers(look.attributes()) for look in looks]),
            torch.tensor([numbers(each.said) for each in captions]),
        )


def batches(source: DrawnBatches, steps: int) -> Iterator[Batch]:
    """The batches 0 to `steps` - 1, drawn ahead by another process."""
    loader: DataLoader[Batch] = DataLoader(
        source, batch_size=None, sampler=range(steps), num_workers=1, prefetch_factor=6
    )
    return iter(loader)
