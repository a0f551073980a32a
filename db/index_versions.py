"""Generations of the search index."""

from __future__ import annotations

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from models.errors import ConfigurationError
from models.image import Embedding, IndexState, IndexVersion

LOCK = 4_811_002


def live(session: Session) -> IndexVersion | None:
    """The version that answers prompts."""
    query = select(IndexVersion).where(col(IndexVersion.state) == IndexState.LIVE)
    return session.scalars(query).one_or_none()


def indexed_with(session: Session) -> str | None:
    """The model key of the live version's vectors; None while there are none."""
    version = live(session)
    if version is None:
        return None
    filled = session.scalar(select(exists().where(col(Embedding.model_key) == version.model_key)))
    return version.model_key if filled else None


def ensure_live(session: Session, model_key: str, dimension: int) -> IndexVersion:
    """The live version, made with this model; created where there is none yet.

    Raises ``ConfigurationError`` where photos are indexed with another model: vectors of two models
    cannot be compared.
    """
    session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    version = live(session)
    if version is not None and (version.model_key, version.dimension) == (model_key, dimension):
        return version
    if version is not None:
        _retire(session, version, model_key)
    created = IndexVersion(model_key=model_key, dimension=dimension, state=IndexState.LIVE)
    session.add(created)
    session.flush()
    return created


def _retire(session: Session, version: IndexVersion, model_key: str) -> None:
    if indexed_with(session) is not None:
        raise ConfigurationError(
            f"The photos in this database are indexed with the model '{version.model_key}', "
            f"but '{model_key}' is configured. Start with the former model (--model), "
            "or give another --data-dir or database."
        )
    version.state = IndexState.RETIRED
    session.flush()
