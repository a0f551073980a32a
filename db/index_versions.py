"""Generations of the search index, each with its model: at most one live, at most one being built."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db.session import allow_long_statements
from models.errors import ConfigurationError, Conflict
from models.image import Embedding, Image, ImageStatus, IndexState, IndexVersion
from models.score_floor import ScoreFloor
from models.shop import Shop

LOCK = 4_811_002


def live(session: Session) -> IndexVersion | None:
    """The version that answers prompts."""
    return _in_state(session, IndexState.LIVE)


def building(session: Session) -> IndexVersion | None:
    """The version that is being filled beside it, if there is one."""
    return _in_state(session, IndexState.BUILDING)


def maintained(session: Session) -> list[IndexVersion]:
    """Those that new photos, changed terms and texts go to: the live one, then the building one."""
    return [version for version in (live(session), building(session)) if version is not None]


def ids(session: Session) -> list[int]:
    """Every version, the retired ones too: what is deleted has to leave all of them."""
    found = session.scalars(select(col(IndexVersion.id)).order_by(col(IndexVersion.id)))
    return [version_id for version_id in found if version_id is not None]


def all_versions(session: Session) -> list[IndexVersion]:
    """Oldest first."""
    return list(session.scalars(select(IndexVersion).order_by(col(IndexVersion.id))))


def of_model(session: Session, model_key: str) -> IndexVersion | None:
    """The newest version of that model, whatever its state."""
    query = select(IndexVersion).where(col(IndexVersion.model_key) == model_key)
    return session.scalars(query.order_by(col(IndexVersion.id).desc()).limit(1)).one_or_none()


def newest_retired(session: Session) -> IndexVersion | None:
    """Of those that answered once, the one that did so last."""
    query = select(IndexVersion).where(
        col(IndexVersion.state) == IndexState.RETIRED, col(IndexVersion.live_at).is_not(None)
    )
    return session.scalars(query.order_by(col(IndexVersion.live_at).desc()).limit(1)).one_or_none()


def rested(session: Session, duration_s: float) -> bool:
    """Whether no version went live for so long."""
    since = func.now() - timedelta(seconds=duration_s)
    return not session.scalar(select(exists().where(col(IndexVersion.live_at) > since)))


def indexed_with(session: Session) -> str | None:
    """The model key of the live version's vectors; None while there are none."""
    version = live(session)
    if version is None:
        return None
    filled = session.scalar(select(exists().where(col(Embedding.model_key) == version.model_key)))
    return version.model_key if filled else None


def ensure_live(
    session: Session, model_key: str, dimension: int, source: str | None = None, revision: str | None = None
) -> IndexVersion:
    """The live version, made with this model; created where there is none yet.

    ``source`` and ``revision``: where its checkpoint is. Raises ``ConfigurationError`` where photos are
    indexed with another model: vectors of two models cannot be compared.
    """
    session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    version = live(session)
    if version is not None and (version.model_key, version.dimension) == (model_key, dimension):
        if source is not None:
            version.source, version.revision = source, revision
        return version
    if version is not None:
        _retire(session, version, model_key)
    created = IndexVersion(
        model_key=model_key,
        dimension=dimension,
        state=IndexState.LIVE,
        source=source,
        revision=revision,
        live_at=datetime.now(UTC),
    )
    session.add(created)
    session.flush()
    session.refresh(created)
    return created


def begin(session: Session, model_key: str, dimension: int, source: str, revision: str) -> IndexVersion:
    """The version that is being built with this model: the one begun before, a retired one, or a new one.

    Raises ``Conflict`` where the live version has this model already, or where another is being built.
    """
    session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    under_way = building(session)
    if under_way is not None and under_way.model_key != model_key:
        raise Conflict(
            f"Version {under_way.id} with the model '{under_way.model_key}' is being built. Finish it, "
            "or give it up, before another is begun."
        )
    version = under_way or of_model(session, model_key)
    if version is not None and version.state is IndexState.LIVE:
        raise Conflict(f"The photos are indexed with the model '{model_key}' already: version {version.id}.")
    if version is None:
        version = IndexVersion(model_key=model_key, dimension=dimension, state=IndexState.BUILDING)
    version.state, version.source, version.revision = IndexState.BUILDING, source, revision
    session.add(version)
    session.flush()
    return version


def give_up(session: Session, version_id: int) -> None:
    """Stop building: nothing more is written to the version. What it holds stays, to be used again."""
    own = and_(col(IndexVersion.id) == version_id, col(IndexVersion.state) == IndexState.BUILDING)
    session.execute(update(IndexVersion).where(own).values(state=IndexState.RETIRED))


def shares_model(session: Session, version: IndexVersion) -> bool:
    """Whether another version has the same model, and so the same vectors in PostgreSQL."""
    other = col(IndexVersion.model_key) == version.model_key, col(IndexVersion.id) != version.id
    return session.scalar(select(exists().where(*other))) is True


def remove(session: Session, version_id: int, *, with_model: bool) -> None:
    """Delete a retired version's row, and with it what is kept of its audits; ``with_model``: the score
    floors of its model, too."""
    own = col(IndexVersion.id) == version_id, col(IndexVersion.state) == IndexState.RETIRED
    gone = delete(IndexVersion).where(*own).returning(col(IndexVersion.model_key))
    model_key = session.scalar(gone.execution_options(synchronize_session=False))
    if model_key is not None and with_model:
        floors = delete(ScoreFloor).where(col(ScoreFloor.model_key) == model_key)
        session.execute(floors.execution_options(synchronize_session=False))


def missing(session: Session, model_key: str) -> int:
    """How many embedded photos lack the model's vector of their present file, or the item's vector, where
    their shop gives text a weight. Reads both tables: some seconds for 1,000,000 photos."""
    own = and_(
        col(Embedding.image_id) == Image.id,
        col(Embedding.model_key) == model_key,
        col(Embedding.photo_sha256) == Image.photo_sha256,
        or_(col(Shop.text_weight) == 0, col(Embedding.item_vector).is_not(None)),
    )
    query = (
        select(func.count())
        .select_from(Image)
        .join(Shop, col(Shop.id) == Image.shop_id)
        .where(col(Image.status) == ImageStatus.EMBEDDED, ~exists().where(own))
    )
    return session.scalar(query) or 0


def flip(session: Session, version_id: int) -> None:
    """Let the version that was built answer prompts, and retire the one that did; all of it or nothing.

    Photos are published with the live version's row locked FOR SHARE (``is_live``). So who publishes either
    commits before this counts, or finds its version retired; new photos wait while it counts. Raises
    ``Conflict`` where the version is not the one being built, and, with their number, while embedded photos
    lack its vectors.
    """
    session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    allow_long_statements(session)
    states = [IndexState.LIVE, IndexState.BUILDING]
    query = select(IndexVersion).where(col(IndexVersion.state).in_(states)).order_by(col(IndexVersion.id))
    locked = {one.state: one for one in session.scalars(query.with_for_update())}
    built = locked.get(IndexState.BUILDING)
    if built is None or built.id != version_id:
        raise Conflict(f"Version {version_id} is not being built, so it cannot go live.")
    if lacking := missing(session, built.model_key):
        raise Conflict(
            f"{lacking} embedded photos have no vector in version {version_id} yet. Fill it first."
        )
    if former := locked.get(IndexState.LIVE):
        former.state = IndexState.RETIRED
        session.flush()  # at most one is live, at every moment
    built.state, built.live_at = IndexState.LIVE, datetime.now(UTC)
    session.flush()


def is_live(session: Session, version_id: int) -> bool:
    """Whether the version answers prompts; where it does, it goes on to until the transaction ends."""
    own = and_(col(IndexVersion.id) == version_id, col(IndexVersion.state) == IndexState.LIVE)
    query = select(col(IndexVersion.id)).where(own).with_for_update(read=True)
    return session.scalar(query) is not None


def _in_state(session: Session, state: IndexState) -> IndexVersion | None:
    return session.scalars(select(IndexVersion).where(col(IndexVersion.state) == state)).one_or_none()


def _retire(session: Session, version: IndexVersion, model_key: str) -> None:
    if indexed_with(session) is not None:
        raise ConfigurationError(
            f"The photos in this database are indexed with the model '{version.model_key}', "
            f"but '{model_key}' is configured. Start with the former model (--model) and change it with "
            "`python -m scripts.reindex --model NAME`, or give another --data-dir or database."
        )
    version.state = IndexState.RETIRED
    session.flush()
