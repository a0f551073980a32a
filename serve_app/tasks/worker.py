"""What a Ray worker process keeps between tasks."""

from __future__ import annotations

from functools import lru_cache

from configs.serving import AppArgs
from configs.settings import Settings
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorStore
from models.errors import ConfigurationError
from serve_app.context import ServingContext
from serve_app.index_parts import IndexingParts
from serve_app.judge_photos import Judge
from serve_app.priority import TASK_NICE, give_way


@lru_cache(maxsize=4)
def _connections(args: AppArgs) -> tuple[Database, MediaStore, VectorStore]:
    """The same for every index version."""
    settings = Settings()
    if settings.chroma_url is None or settings.media_url is None:
        raise ConfigurationError("CHROMA_URL and MEDIA_URL must be set on every machine.")
    return (
        Database.configured(connections=2),
        MediaStore(settings.media_url),
        VectorStore(settings.chroma_url, args.collection),
    )


def indexing_parts(context: ServingContext) -> IndexingParts:
    """``parts_of``, for bulk work: from the first task that asks on, the process gives way."""
    give_way(TASK_NICE)
    return parts_of(context)


@lru_cache(maxsize=4)
def parts_of(context: ServingContext) -> IndexingParts:
    """Connections and preprocessing, made at a process's first use."""
    args = context.args
    database, media, vectors = _connections(args)
    return IndexingParts(
        database=database,
        media=media,
        vectors=vectors,
        version_id=context.version_id,
        model_key=context.model.key,
        geometry=context.model.geometry,
        max_pixels=args.photos.max_pixels,
        judge=Judge.of(context, database),
        args=args.indexer,
    )
