"""What benchmarks ask: prompts that no cache has seen, in the length that shoppers' have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scripts.measurement.random_checkpoint import WORDS

LENGTHS = range(5, 12)  # words; with the two special tokens, 7 to 13 tokens


def distinct_prompts(seed: int) -> Iterator[str]:
    """Prompts without end, none of them twice; other seeds give others, but for chance."""
    random = np.random.default_rng(seed)
    seen: set[str] = set()
    while True:
        prompt = " ".join(random.choice(WORDS, int(random.choice(LENGTHS))))
        if prompt not in seen:
            seen.add(prompt)
            yield prompt
