"""Many texts through the text tower, without pushing shoppers' prompts aside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from serve_app.ports import TextEmbedder, Vector

TEXTS_AT_ONCE = 16
# Between leases that are prolonged: two turns, each as long as the time-out of a text at most.
TEXTS_PER_STEP = 2 * TEXTS_AT_ONCE


async def embed_texts(
    embedder: TextEmbedder, texts: Sequence[str], turns: asyncio.Semaphore | None = None
) -> Vector:
    """(n, d) float32, unit length, for at least one text. Raises what the embedder raises.

    A bounded number is under way at once, about one batch of the tower, or as many as ``turns`` lets through
    of all its users; after an error none is any more.
    """
    taken = turns or asyncio.Semaphore(TEXTS_AT_ONCE)

    async def one(text: str) -> Vector:
        async with taken:
            return (await embedder.embed(text)).vector

    try:
        async with asyncio.TaskGroup() as group:
            vectors = [group.create_task(one(text)) for text in texts]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return np.stack([vector.result() for vector in vectors])
