"""The vectors of prompts that come again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from models.search import TextEmbedding
from serve_app.ports import EventCounter, TextEmbedder


@dataclass
class PromptCache:
    """A TextEmbedder that remembers ``size`` prompts of another one's model, the last used.

    For one event loop. ``hits`` and ``misses`` together count every prompt.
    """

    embedder: TextEmbedder
    size: int
    hits: EventCounter
    misses: EventCounter
    _kept: OrderedDict[str, TextEmbedding] = field(default_factory=OrderedDict)

    async def embed(self, prompt: str) -> TextEmbedding:
        """Raises what the embedder raises, and remembers no error."""
        known = self._kept.get(prompt)
        if known is not None:
            self._kept.move_to_end(prompt)
            self.hits.increment()
            return known
        self.misses.increment()
        found = await self.embedder.embed(prompt)
        # A copy: the vector is a row of its whole batch, which would stay in memory with it.
        self._kept[prompt] = TextEmbedding(found.vector.copy(), found.truncated)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)
        return found

    async def ping(self) -> None:
        await self.embedder.ping()
