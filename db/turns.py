"""Whose turn it is: the shops that have work waiting, found without counting the work."""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import Enum

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.open_shops import lock_not_deleting
from models.shop import Shop

MAX_SHOPS = 64


class Waiting(Enum):
    """Which photos; each condition is that of a partial index on (shop_id, id)."""

    FOR_EMBEDDING = "status IN ('pending', 'processing')"
    FOR_METADATA = "status = 'embedded' AND metadata_revision <> indexed_revision"


# A loose index scan: one probe of the index per shop, however many photos each shop has waiting.
SHOPS_WITH_WORK = """
    WITH RECURSIVE waiting(shop_id) AS (
        (SELECT shop_id FROM image
          WHERE {condition} AND shop_id > :after
            AND (lease_until IS NULL OR lease_until < now())
          ORDER BY shop_id LIMIT 1)
        UNION ALL
        SELECT next.shop_id FROM waiting, LATERAL (
            SELECT shop_id FROM image
             WHERE {condition} AND shop_id > waiting.shop_id
               AND (lease_until IS NULL OR lease_until < now())
             ORDER BY shop_id LIMIT 1) AS next
    )
    SELECT shop_id FROM waiting LIMIT :limit
    """
QUERIES = {kind: text(SHOPS_WITH_WORK.format(condition=kind.value)) for kind in Waiting}

# The first of every shop, then the second of every shop, and so on. ``at_work``: of each shop's photos, those
# held by others included, no more are looked at than tell whether they are few.
# Not "=": PostgreSQL takes every shop for one with a large backlog, and would read all photos by id.
ROUND_ROBIN = f"""
    SELECT waiting.id
      FROM unnest(CAST(:shop_ids AS integer[])) WITH ORDINALITY AS shop(id, place)
     CROSS JOIN LATERAL (
        SELECT count(*) <= :few AS few
          FROM (SELECT image.id FROM image
                 WHERE image.shop_id BETWEEN shop.id AND shop.id AND {Waiting.FOR_EMBEDDING.value}
                 ORDER BY image.shop_id, image.id LIMIT :few + 1) AS first) AS at_work
     CROSS JOIN LATERAL (
        SELECT image.id, row_number() OVER (ORDER BY image.shop_id, image.id) AS turn
          FROM image
         WHERE image.shop_id BETWEEN shop.id AND shop.id AND {Waiting.FOR_EMBEDDING.value}
           AND (image.lease_until IS NULL OR image.lease_until < now())
           AND {{photos}}
         ORDER BY image.shop_id, image.id LIMIT :limit) AS waiting
     WHERE {{shops}}
     ORDER BY waiting.turn, shop.place LIMIT :limit
    """
FRESH = "image.updated_at BETWEEN now() - make_interval(secs => :fresh_s) AND now()"
ALL_BUT_FRESH_SINGLES = text(
    ROUND_ROBIN.format(photos=f"NOT (at_work.few AND image.import_job_id IS NULL AND {FRESH})", shops="true")
)
SINGLES = text(ROUND_ROBIN.format(photos="image.import_job_id IS NULL", shops="at_work.few"))


def shops_with_work(session: Session, kind: Waiting) -> list[int]:
    """At most ``MAX_SHOPS`` shops, starting at a random one so that all get their turn."""
    query = QUERIES[kind]
    start = random.randrange(session.scalar(select(func.max(Shop.id))) or 1)
    shops = list(session.scalars(query, {"after": start, "limit": MAX_SHOPS}))
    if len(shops) < MAX_SHOPS:
        first = session.scalars(query, {"after": 0, "limit": MAX_SHOPS - len(shops)})
        shops += [shop_id for shop_id in first if shop_id <= start]
    return shops


def candidates(session: Session, limit: int, *, few: int = 0, fresh_s: float = 0.0) -> Sequence[int]:
    """Ids in the order in which they should be embedded; some may be locked by another claim.

    Left out: what ``single_candidates`` has, for its first ``fresh_s`` seconds.
    """
    values = {"shop_ids": _open_shops(session), "limit": limit, "few": few, "fresh_s": fresh_s}
    return session.scalars(ALL_BUT_FRESH_SINGLES, values).all() if values["shop_ids"] else []


def single_candidates(session: Session, limit: int, *, few: int) -> Sequence[int]:
    """The same of photos that no import brought, of shops that have at most ``few`` photos at work."""
    values = {"shop_ids": _open_shops(session), "limit": limit, "few": few}
    return session.scalars(SINGLES, values).all() if values["shop_ids"] else []


def _open_shops(session: Session) -> list[int]:
    """Shops with photos to embed, locked."""
    shops = shops_with_work(session, Waiting.FOR_EMBEDDING)
    unlocked = lock_not_deleting(session, shops)
    return [shop_id for shop_id in shops if shop_id in unlocked]
