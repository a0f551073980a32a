"""What shoppers did with photos of an answer."""

from __future__ import annotations

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlmodel import col, select

from db.open_shops import lock_open
from models.event import Event


def add(session: Session, event: Event) -> tuple[Event, bool]:
    """The stored event, and whether it is new: a repeated report changes nothing.

    Raises NotAuthenticated where the shop is not active.
    """
    lock_open(session, event.shop_id)
    values = event.model_dump(exclude={"id", "created_at"})
    row = insert(Event).values(values).on_conflict_do_nothing(constraint="uq_event").returning(Event)
    new = session.scalars(row).one_or_none()
    if new is not None:
        return new, True
    same = select(Event).where(
        col(Event.prompt_id) == event.prompt_id,
        col(Event.image_id) == event.image_id,
        col(Event.kind) == event.kind,
    )
    return session.scalars(same).one(), False
