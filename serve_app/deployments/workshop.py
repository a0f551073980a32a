"""What the Indexer works with for one index version."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from configs.settings import Settings
from db.session import Database
from db.vectors import VectorStore
from models.errors import ConfigurationError, DependencyUnavailable
from models.image import IndexVersion
from serve_app.beside import DescribedBeside
from serve_app.context import model_app_name
from serve_app.handles import BulkTextEmbedderHandle, ImageEmbedderHandle, TextEmbedderHandle
from serve_app.index_parts import IndexParts
from serve_app.judge_photos import Judge
from serve_app.ports import BulkTextEmbedder, Vector
from serve_app.score_floor import FloorCalibration
from serve_app.startup import context_of
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
        timeout_s, model_key = self.served.context.args.timeouts.embed_s, self.parts.model_key
        await TextEmbedderHandle(self.served.text_embedder, timeout_s, model_key).embed("ready")
        no_photos = np.empty((0, 1, 1, 3), np.uint8)
        await ImageEmbedderHandle(self.served.image_embedder, timeout_s, model_key).embed(no_photos)

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
        """Raises ConfigurationError where its checkpoint is not on this machine, DependencyUnavailable where
        its model is not served."""
        served = self._main if version.id == self._main.context.version_id else self._elsewhere(version)
        context, timeout_s = served.context, served.context.args.timeouts.embed_s
        parts = IndexParts(
            database=self._database,
            vectors=self._vectors,
            version_id=context.version_id,
            model_key=context.model.key,
            args=context.args.indexer,
            judge=Judge.of(context, self._database),
        )
        texts = BulkTextEmbedderHandle(served.text_embedder, timeout_s, self._loop, context.model.key)
        floors = FloorCalibration(
            parts, TextEmbedderHandle(served.text_embedder, timeout_s, context.model.key)
        )
        return Workshop(served, parts, texts, floors)

    def _elsewhere(self, version: IndexVersion) -> ServedVersion:
        context = context_of(self._main.context.args, version)
        name = model_app_name(context.version_id)
        try:
            towers = [
                serve.get_deployment_handle(f"{one}Embedder", app_name=name) for one in ("Image", "Text")
            ]
        except (RayError, RayServeException) as error:
            raise DependencyUnavailable(f"The Serve application '{name}' does not run.") from error
        return ServedVersion(context, *towers)


class _Silent:
    def embed(self, texts: Sequence[str]) -> Vector:
        raise DependencyUnavailable(f"Its text embedder does not answer: {len(texts)} texts wait.")
