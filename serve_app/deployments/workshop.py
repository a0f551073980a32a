"""What the Indexer works with for one index version."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from configs.settings import Settings
from db.session import Database
from db.vectors import VectorStore
from models.errors import ConfigurationError, DependencyUnavailable
from models.image import IndexVersion
from serve_app.beside import DescribedBeside
from serve_app.deployments.towers import with_towers
from serve_app.handles import BulkTextEmbedderHandle
from serve_app.index_parts import IndexParts
from serve_app.judge_photos import Judge
from serve_app.ports import BulkTextEmbedder, Vector
from serve_app.score_floor import FloorCalibration
from serve_app.tasks.served_version import ServedVersion


@dataclass(frozen=True)
class Workshop:
    """``texts`` and ``floors`` run on the Indexer's event loop."""

    served: ServedVersion
    parts: IndexParts
    texts: BulkTextEmbedder
    floors: FloorCalibration

    async def probe(self) -> None:
        """Raises AppError unless both embedders answer."""
        await self.served.texts().ping()
        await self.served.photos().embed(np.empty((0, 1, 1, 3), np.uint8))

    def described(self, *, answers: bool) -> DescribedBeside:
        """Terms, and weights of texts that are known, need no embedder."""
        return DescribedBeside(self.parts, self.texts if answers else _Silent())


class Workshops:
    """Sets them up; ``main`` is the main application's own version."""

    def __init__(self, main: ServedVersion, database: Database, loop: asyncio.AbstractEventLoop) -> None:
        address = Settings().chroma_url
        if address is None:
            raise ConfigurationError("CHROMA_URL is not set. Set it to the Chroma server's address.")
        self._vectors = VectorStore(address, main.context.args.collection)
        self._main, self._database, self._loop = main, database, loop

    def of(self, version: IndexVersion) -> Workshop:
        """Raises as ``with_towers`` does."""
        served = with_towers(self._main, version)
        context = served.context
        parts = IndexParts(
            database=self._database,
            vectors=self._vectors,
            version_id=context.version_id,
            model_key=context.model.key,
            args=context.args.indexer,
            judge=Judge.of(context, self._database),
        )
        timeout_s, model_key = context.args.timeouts.embed_s, context.model.key
        texts = BulkTextEmbedderHandle(served.text_embedder, timeout_s, model_key, self._loop)
        return Workshop(served, parts, texts, FloorCalibration(parts, served.texts()))


class _Silent:
    def embed(self, texts: Sequence[str]) -> Vector:
        raise DependencyUnavailable(f"Its text embedder does not answer: {len(texts)} texts wait.")
