"""Prompts that come again: the same vectors, without asking; and never a stale or another model's answer."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DependencyUnavailable
from models.search import TextEmbedding
from serve_app.prompt_cache import PromptCache
from tests.fakes import FakeTextEmbedder, Tally, vector_of


@dataclass
class Counted(FakeTextEmbedder):
    """Notes what it was asked; its vectors are rows of a large batch."""

    asked: list[str] = field(default_factory=list)

    async def embed(self, prompt: str) -> TextEmbedding:
        found = await super().embed(prompt)
        self.asked.append(prompt)
        return TextEmbedding(np.tile(found.vector, (100, 1))[7], found.truncated)


def cache(size: int) -> tuple[PromptCache, Counted]:
    embedder = Counted()
    return PromptCache(embedder, size, Tally(), Tally()), embedder


@given(prompts=st.lists(st.sampled_from("abcdef"), max_size=40), size=st.integers(1, 6))
async def test_what_is_asked_again_is_what_was_used_least_lately(prompts: list[str], size: int) -> None:
    cached, embedder = cache(size)
    kept: OrderedDict[str, None] = OrderedDict()
    expected = []
    for prompt in prompts:
        if prompt not in kept:
            expected.append(prompt)
        kept[prompt] = None
        kept.move_to_end(prompt)
        while len(kept) > size:
            kept.popitem(last=False)
        np.testing.assert_array_equal((await cached.embed(prompt)).vector, vector_of(prompt))
    assert embedder.asked == expected
    assert (cached.hits.count, cached.misses.count) == (len(prompts) - len(expected), len(expected))  # type: ignore[attr-defined]


async def test_an_error_is_not_remembered_and_a_ping_is_never_answered_from_memory() -> None:
    cached, embedder = cache(2)
    await cached.embed("a dress")
    embedder.error = DependencyUnavailable("gone")
    for _ in range(2):
        with pytest.raises(DependencyUnavailable):
            await cached.embed("a skirt")
        with pytest.raises(DependencyUnavailable):
            await cached.ping()
    embedder.error = None
    assert not (await cached.embed("a skirt")).truncated
    assert embedder.asked == ["a dress", "a skirt"]


async def test_a_remembered_vector_does_not_hold_its_batch() -> None:
    cached, _ = cache(2)
    await cached.embed("a dress")
    assert (await cached.embed("a dress")).vector.base is None
