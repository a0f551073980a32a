"""Many texts through the text tower: bounded, on one event loop, and over after an error."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest
from ray.serve.handle import DeploymentHandle

from models.errors import TooBusy
from models.search import TextEmbedding
from serve_app.embed_texts import TEXTS_AT_ONCE, embed_texts
from serve_app.handles import BulkTextEmbedderHandle
from serve_app.ports import Vector
from tests.fakes import vector_of

TEXTS = [f"text {number}" for number in range(4 * TEXTS_AT_ONCE)]


@dataclass
class Tower:
    """Answers a while later, or is too busy for the text ``refuses``."""

    refuses: str = ""
    asked: list[str] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    loops: set[asyncio.AbstractEventLoop] = field(default_factory=set)

    @property
    def embed_prompts(self) -> Tower:
        return self

    async def remote(self, prompts: list[str], _model_key: str) -> tuple[Vector, list[bool]]:
        found = await asyncio.gather(*map(self.embed, prompts))
        return np.stack([one.vector for one in found]), [one.truncated for one in found]

    async def embed(self, prompt: str) -> TextEmbedding:
        self.asked.append(prompt)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.loops.add(asyncio.get_running_loop())
        try:
            await asyncio.sleep(0)
            if prompt == self.refuses:
                raise TooBusy("The text embedder has a full queue.")
            return TextEmbedding(vector_of(prompt), truncated=False)
        finally:
            self.under_way -= 1


async def test_texts_keep_their_order_and_some_are_under_way_at_once() -> None:
    tower = Tower()
    vectors = await embed_texts(tower, TEXTS)
    assert tower.most == TEXTS_AT_ONCE
    np.testing.assert_array_equal(vectors, np.stack([vector_of(text) for text in TEXTS]))


async def test_after_an_error_nothing_more_is_asked() -> None:
    tower = Tower(refuses=TEXTS[3])
    with pytest.raises(TooBusy):
        await embed_texts(tower, TEXTS)
    asked = len(tower.asked)
    assert (asked < len(TEXTS), tower.under_way) == (True, 0)
    await asyncio.sleep(0)
    assert len(tower.asked) == asked


async def test_a_thread_calls_the_handle_on_the_loop_that_others_call_it_on() -> None:
    """Serve's router belongs to one event loop: called on two, it fails on both."""
    tower = Tower()
    handle = BulkTextEmbedderHandle(cast(DeploymentHandle, tower), 10, "a@1", asyncio.get_running_loop())
    await asyncio.to_thread(handle.embed, TEXTS[:2])
    assert tower.loops == {asyncio.get_running_loop()}


async def test_threads_share_the_turns_of_their_handle() -> None:
    tower = Tower()
    handle = BulkTextEmbedderHandle(cast(DeploymentHandle, tower), 10, "a@1", asyncio.get_running_loop())
    await asyncio.gather(*(asyncio.to_thread(handle.embed, TEXTS) for _ in range(3)))
    assert (tower.most, len(tower.asked)) == (TEXTS_AT_ONCE, 3 * len(TEXTS))
