"""The rows of an import: which there are, what is wrong with them, what became of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlmodel import col

from db.open_shops import lock_open
from db.session import allow_long_statements
from models.errors import DuplicateSku
from models.feed import BrokenRow, FeedRow
from models.image import Image, ImageStatus
from models.import_job import ImportCounts
from models.job import ImportRow, JobError, RowOutcome

REMOVAL_ROWS = 500


def last_line(session: Session, job_id: int) -> int:
    """The last line that is noted; 0 where there is none. Lines are noted in the order of the file."""
    return session.scalar(select(func.max(col(ImportRow.line))).where(_of(job_id))) or 0


def add(session: Session, job_id: int, rows: Sequence[FeedRow | BrokenRow]) -> list[BrokenRow]:
    """Note new rows, those that are broken as failed. Returns what is wrong with them.

    Of two rows with one sku the second is broken. Not more than a thousand at a time.
    """
    values = [
        {
            "job_id": job_id,
            "line": row.line,
            "sku": row.sku,
            "outcome": RowOutcome.FAILED if isinstance(row, BrokenRow) else None,
        }
        for row in rows
    ]
    noted = insert(ImportRow).on_conflict_do_nothing().returning(col(ImportRow.line))
    lines = set(session.scalars(noted, values)) if values else set()
    left = [row for row in rows if row.line not in lines]
    firsts = _first_lines(session, job_id, [row.sku for row in left if row.sku is not None])
    if left:
        known = {"job_id": job_id, "sku": None, "outcome": RowOutcome.DUPLICATE}
        session.execute(insert(ImportRow), [{**known, "line": row.line} for row in left])
    return [row for row in rows if isinstance(row, BrokenRow)] + [
        _duplicate(row, firsts[row.sku]) for row in left if isinstance(row, FeedRow)
    ]


def add_errors(session: Session, job_id: int, broken: Sequence[BrokenRow], at_most: int) -> None:
    """Keep what is wrong, until the job has ``at_most`` of them; further ones are only counted."""
    if not broken:
        return
    kept = session.scalar(select(func.count()).select_from(JobError).where(col(JobError.job_id) == job_id))
    room = max(0, at_most - (kept or 0))
    values = [
        {
            "job_id": job_id,
            "line": row.line,
            "sku": row.sku,
            "code": row.code,
            "reason": row.reason,
            "row": dict(row.raw),
        }
        for row in sorted(broken, key=lambda one: one.line)[:room]
    ]
    if values:
        session.execute(insert(JobError).on_conflict_do_nothing(), values)


def open_lines(session: Session, job_id: int, lines: Sequence[int], *, unchecked: bool = False) -> set[int]:
    """Those of the lines, which ascend, that have no outcome yet; of them only those not checked yet."""
    if not lines:
        return set()
    query = _open(job_id).where(col(ImportRow.line).between(lines[0], lines[-1]))
    if unchecked:
        query = query.where(~col(ImportRow.checked))
    return set(session.scalars(query))


def lock_open_lines(session: Session, job_id: int, lines: Collection[int]) -> set[int]:
    """The same for certain lines; nobody else settles them before the transaction ends."""
    query = _open(job_id).where(col(ImportRow.line).in_(lines)).order_by(col(ImportRow.line))
    return set(session.scalars(query.with_for_update()))


def set_aside_ids(session: Session, job_id: int, lines: Collection[int]) -> dict[int, int]:
    """An id for each new photo, by line; the same ones when it is asked again."""
    if not lines:
        return {}
    own = _of(job_id), col(ImportRow.line).in_(lines)
    change = update(ImportRow).where(*own, col(ImportRow.image_id).is_(None))
    session.execute(
        change.values(image_id=func.nextval("image_id_seq")).execution_options(synchronize_session=False)
    )
    rows = session.execute(select(col(ImportRow.line), col(ImportRow.image_id)).where(*own))
    return {line: image_id for line, image_id in rows if image_id is not None}


def settle(
    session: Session, job_id: int, outcomes: Mapping[int, RowOutcome], new_photos: Collection[int] = ()
) -> None:
    """What became of locked lines; ``new_photos``: the lines whose photo gets a vector."""
    kinds = {(outcome, line in new_photos) for line, outcome in outcomes.items()}
    for outcome, is_new in kinds:
        lines = [line for line, one in outcomes.items() if (one, line in new_photos) == (outcome, is_new)]
        _update(session, job_id, lines, outcome=outcome, new_photo=is_new)


def mark_checked(session: Session, job_id: int, lines: Collection[int]) -> None:
    """Their photos were looked at, and are fine."""
    _update(session, job_id, lines, checked=True)


def count(session: Session, job_id: int, before: ImportCounts) -> ImportCounts:
    """``before`` with what became of the rows, exact."""
    allow_long_statements(session)
    query = select(col(ImportRow.outcome), func.count(), func.count().filter(col(ImportRow.new_photo)))
    rows = session.execute(query.where(_of(job_id)).group_by(col(ImportRow.outcome))).all()
    found = {row[0]: row[1] for row in rows}
    return before.model_copy(
        update={
            "created": found.get(RowOutcome.CREATED, 0),
            "updated": found.get(RowOutcome.UPDATED, 0),
            "unchanged": found.get(RowOutcome.UNCHANGED, 0),
            "failed": found.get(RowOutcome.FAILED, 0) + found.get(RowOutcome.DUPLICATE, 0),
            "photos": sum(row[2] for row in rows),
        }
    )


def without_sku(session: Session, job_id: int) -> int:
    """Broken rows of which nobody can tell which photo they stand for."""
    nameless = col(ImportRow.sku).is_(None), col(ImportRow.outcome) == RowOutcome.FAILED
    return session.scalar(select(func.count()).select_from(ImportRow).where(_of(job_id), *nameless)) or 0


def count_absent(session: Session, job_id: int, shop_id: int, before: datetime) -> tuple[int, int]:
    """How many photos a full import would remove, and how many the shop has."""
    allow_long_statements(session)
    living = col(Image.shop_id) == shop_id, col(Image.status) != ImageStatus.DELETING
    query = select(func.count().filter(_is_absent(job_id, before)), func.count()).select_from(Image)
    absent, photos = session.execute(query.where(*living)).one()
    return absent, photos


def remove_absent(session: Session, job_id: int, shop_id: int, before: datetime) -> int:
    """Mark one batch of them as deleted; how many. Photos that came after ``before`` stay, unless by
    an earlier import."""
    allow_long_statements(session)
    lock_open(session, shop_id)
    living = col(Image.shop_id) == shop_id, col(Image.status) != ImageStatus.DELETING
    query = select(col(Image.id)).where(*living, _is_absent(job_id, before)).order_by(col(Image.id))
    ids = session.scalars(query.limit(REMOVAL_ROWS).with_for_update(key_share=True)).all()
    change = update(Image).where(col(Image.id).in_(ids))
    values = {"status": ImageStatus.DELETING, "attempts": 0, "error": None, "updated_at": func.now()}
    session.execute(change.values(**values).execution_options(synchronize_session=False))
    return len(ids)


def unused_ids(session: Session, job_id: int) -> list[int]:
    """Ids that were set aside and got no photo: files may lie there that no row names."""
    used = exists().where(col(Image.id) == col(ImportRow.image_id))
    query = select(col(ImportRow.image_id)).where(_of(job_id), col(ImportRow.image_id).is_not(None), ~used)
    return [image_id for image_id in session.scalars(query) if image_id is not None]


def delete_all(session: Session, job_id: int) -> None:
    """The job is done; its errors and counts stay."""
    allow_long_statements(session)
    session.execute(delete(ImportRow).where(_of(job_id)).execution_options(synchronize_session=False))


def _first_lines(session: Session, job_id: int, skus: Sequence[str]) -> dict[str, int]:
    query = select(col(ImportRow.sku), col(ImportRow.line)).where(_of(job_id), col(ImportRow.sku).in_(skus))
    return {sku: line for sku, line in session.execute(query) if sku is not None} if skus else {}


def _duplicate(row: FeedRow, first: int) -> BrokenRow:
    reason = f"The sku '{row.sku}' stands in line {first} already. Give each row a sku of its own."
    return row.broken(DuplicateSku.code, reason)


def _is_absent(job_id: int, before: datetime) -> ColumnElement[bool]:
    """What an import brought that was sent earlier is earlier, though it was stored while this one waited."""
    named = exists().where(_of(job_id), col(ImportRow.sku) == col(Image.sku))
    earlier = (col(Image.created_at) <= before) | (col(Image.import_job_id) < job_id)
    return earlier & ~named


def _open(job_id: int) -> Select[int]:
    return select(col(ImportRow.line)).where(_of(job_id), col(ImportRow.outcome).is_(None))


def _of(job_id: int) -> ColumnElement[bool]:
    return col(ImportRow.job_id) == job_id


def _update(session: Session, job_id: int, lines: Collection[int], **values: Any) -> None:
    change = update(ImportRow).where(_of(job_id), col(ImportRow.line).in_(lines)).values(**values)
    if lines:
        session.execute(change.execution_options(synchronize_session=False))
