"""How long a model takes for a prompt and a photo on this machine, for towers that sleep instead."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import CLIPModel

from scripts.benchmark.sleeping_bench import PROMPTS_PER_CALL
from scripts.benchmark.sleeping_encoder import Sleeps

PHOTOS_PER_CALL, CALLS = 8, 5


@torch.inference_mode()
def measured_sleeps(checkpoint: Path) -> Sleeps:
    """On this machine, with one thread."""
    torch.set_num_threads(1)
    model = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32)
    side, tokens = model.config.vision_config.image_size, model.config.text_config.max_position_embeddings
    prompts, photos = (
        torch.zeros((PROMPTS_PER_CALL, tokens), dtype=torch.int64),
        torch.zeros((PHOTOS_PER_CALL, 3, side, side)),
    )
    prompts_s = _median_s(lambda: model.get_text_features(input_ids=prompts))
    photos_s = _median_s(lambda: model.get_image_features(pixel_values=photos))
    return Sleeps(prompts_s / PROMPTS_PER_CALL, photos_s / PHOTOS_PER_CALL)


def _median_s(call: Callable[[], object]) -> float:
    times_s = []
    for _ in range(1 + CALLS):
        started = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - started)
    return statistics.median(times_s[1:])
