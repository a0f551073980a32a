"""Whether there may be work. The look spans shops: a database of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db import jobs, mails, score_floors, signups, webhooks, work, work_signs
from db.session import Database
from db.work_signs import WorkSigns
from models.image import ImageStatus
from models.job import JobKind
from models.mail import MailKind
from models.shop import Shop, ShopStatus
from tests.services import Photos, create_shop

NOTHING = WorkSigns(*[False] * len(WorkSigns._fields))
ROWS_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'image'"
MANY_PHOTOS = """
    INSERT INTO image (shop_id, sku, name, photo_key, photo_sha256, photo_bytes, photo_width_px,
                       photo_height_px, photo_type, status, attempts)
    SELECT :shop_id, number::text, 'Dress', '', '', 1, 1, 1, 'image/jpeg', 'embedded', 0
      FROM generate_series(1, 5000) AS number
"""


def _change(statement: str) -> Callable[[Session, int], object]:
    return lambda session, shop_id: session.execute(text(statement), {"shop_id": shop_id})


def _queue_mail(session: Session, shop_id: int) -> None:
    shop = session.get_one(Shop, shop_id)
    shop.status = ShopStatus.PENDING
    link = signups.add_link(session, shop_id, b"nonce", b"hash", 24.0)
    mails.add(session, shop, link, MailKind.ACTIVATION)


def _queue_message(session: Session, shop_id: int) -> None:
    webhooks.set_webhook(session, shop_id, "https://rose.example/hook", b"nonce")
    webhooks.add(session, shop_id, "webhook.test", {})


# By sign: what makes such work, and what claims it.
WORK: dict[str, tuple[Callable[[Session, int], object], Callable[[Session], object]]] = {
    "embedding": (
        _change("UPDATE image SET status = 'pending'"),
        lambda session: work.claim_embedding(session, limit=5, lease_s=60, max_attempts=5).photos,
    ),
    "deleting": (
        _change("UPDATE image SET status = 'deleting'"),
        lambda session: work.claim_deleting(session, limit=5, lease_s=60).photos,
    ),
    "metadata": (
        _change("UPDATE image SET metadata_revision = indexed_revision + 1"),
        lambda session: work.claim_metadata(session, limit=5, lease_s=60).photos,
    ),
    "jobs": (
        lambda session, shop_id: jobs.add(session, JobKind.DELETE_SHOP, shop_id),
        lambda session: jobs.claim(session, JobKind.DELETE_SHOP, lease_s=60, max_attempts=5),
    ),
    "floors": (
        _change(
            "INSERT INTO score_floor "
            "(shop_id, model_key, revision, computed_revision, changed_at, behind_since) VALUES "
            "(:shop_id, 'm', 2, 1, now() - interval '1 hour', now() - interval '1 hour')"
        ),
        lambda session: score_floors.claim(session, "m", quiet_s=1, at_most_s=1, lease_s=60),
    ),
    "mails": (_queue_mail, lambda session: mails.claim(session, 60, 24.0)),
    "webhooks": (_queue_message, lambda session: webhooks.claim(session, 60)),
}


@pytest.fixture
def database(own_database: Database) -> Database:
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM job; DELETE FROM shop"))
    return own_database


def signs(database: Database) -> WorkSigns:
    with database.transaction() as session:
        return work_signs.look(session)


def test_every_sign_is_tested() -> None:
    assert {*WORK} == {*WorkSigns._fields}


@pytest.mark.parametrize("kind", WORK)
def test_work_that_can_be_claimed_shows(database: Database, kind: str) -> None:
    shop_id = create_shop(database)
    Photos(database, shop_id).add(2, status=ImageStatus.EMBEDDED)
    assert signs(database) == NOTHING
    make, claim = WORK[kind]
    with database.transaction() as session:
        make(session, shop_id)
    assert signs(database) == NOTHING._replace(**{kind: True})
    with database.transaction() as session:
        assert claim(session)


def test_a_shop_with_another_text_weight_shows(database: Database) -> None:
    create_shop(database)
    with database.transaction() as session:
        session.execute(text("UPDATE shop SET reindexing = true"))
    assert signs(database) == NOTHING._replace(metadata=True)


def test_a_catalogue_without_work_is_not_read(database: Database) -> None:
    """Whatever PostgreSQL has counted: the statistics say that most photos wait for one thing or another."""
    shop_id = create_shop(database)
    with database.transaction() as session:
        session.execute(text(MANY_PHOTOS), {"shop_id": shop_id})
        session.execute(text("UPDATE image SET status = 'pending'"))
    with database.session_maker()() as session:
        session.execute(text("VACUUM ANALYZE image"))
        session.execute(text("UPDATE image SET status = 'embedded', metadata_revision = indexed_revision"))
        session.execute(text("VACUUM image"))
    before = rows_read(database)
    assert signs(database) == NOTHING
    assert rows_read(database) - before < 50


def rows_read(database: Database) -> int:
    with database.transaction() as session:
        session.execute(text("SELECT pg_stat_force_next_flush()"))
    with database.transaction() as session:
        return session.scalars(text(ROWS_READ)).one()
