"""Many texts through the text tower, without pushing shoppers' prompts aside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from serve_app.ports import TextEmbedder, Vector

TEXTS_AT_ONCE = 16


async def embed_texts(embedder: TextEmbedder, texts: Sequence[str]) -> Vector:
    """(n, d) float32, unit length, for at least one text. Raises what the embedder raises.

    A bounded number is under way at once, about one batch of the tower; after an error none is any more.
    """
    turns = asyncio.Semaphore(TEXTS_AT_ONCE)

    async def one(text: str) -> Vector:
        async with turns:
            return (await embedder.embed(text)).vector

    try:
        async with asyncio.TaskGroup() as group:
            vectors = [group.create_task(one(text)) for text in texts]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return np.stack([vector.result() for vector in vectors])
