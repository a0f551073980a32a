"""Shops, as staff keep them. Each change is audited in its own transaction."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy.orm import Session

from db import audit, shop_deletion
from models.errors import Conflict, NotFound
from models.image_api import check_storable
from models.shop import Shop, ShopStatus
from models.staff import Staff
from serve_app.delete_shop import request_deletion

Limit = Annotated[int, Field(ge=1, le=2**31 - 1)] | None


class ShopChanges(BaseModel):
    """What staff set; a limit of None is the configuration's."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=250)]
    requests_per_minute: Limit
    prompts_per_day: Limit
    max_photos: Limit

    @model_validator(mode="after")
    def _storable(self) -> Self:
        check_storable(self)
        return self


def change_shop(session: Session, staff: Staff, shop_id: int, changes: ShopChanges) -> Shop:
    """Raises NotFound, Conflict (a shop that is being deleted)."""
    shop = _living(session, shop_id)
    before: dict[str, Any] = {name: getattr(shop, name) for name in ShopChanges.model_fields}
    after = {name: value for name, value in changes.model_dump().items() if value != before[name]}
    for name, value in after.items():
        setattr(shop, name, value)
    if after:
        audit.record(
            session, staff, "shop.update", shop_id, before={name: before[name] for name in after}, after=after
        )
    return shop


def suspend_shop(session: Session, staff: Staff, shop_id: int) -> bool:
    """Its keys stop working; nothing of it is lost. False where it is not active. Raises NotFound."""
    return _set_status(session, staff, shop_id, ShopStatus.ACTIVE, ShopStatus.SUSPENDED)


def activate_shop(session: Session, staff: Staff, shop_id: int) -> bool:
    """Its keys work again. False where it is not suspended. Raises NotFound."""
    return _set_status(session, staff, shop_id, ShopStatus.SUSPENDED, ShopStatus.ACTIVE)


def close_shop(session: Session, staff: Staff, shop_id: int) -> bool:
    """Remove it with all that it has, as its owner can. False where that is under way. Raises NotFound."""
    shop = shop_deletion.locked(session, shop_id)
    if shop is not None and shop.status is ShopStatus.DELETING:
        return False
    before = {} if shop is None else {"name": shop.name, "email": shop.email, "status": shop.status}
    job = request_deletion(session, shop_id)
    audit.record(session, staff, "shop.delete", shop_id, before=before, job_id=job.id)
    return True


def _set_status(session: Session, staff: Staff, shop_id: int, before: ShopStatus, after: ShopStatus) -> bool:
    shop = _living(session, shop_id)
    if shop.status is not before:
        return False
    shop.status = after
    audit.record(session, staff, f"shop.{after}", shop_id, before=before, after=after)
    return True


def _living(session: Session, shop_id: int) -> Shop:
    shop = shop_deletion.locked(session, shop_id)
    if shop is None:
        raise NotFound(f"There is no shop {shop_id}.")
    if shop.status is ShopStatus.DELETING:
        raise Conflict(f"Shop {shop_id} is being deleted and cannot be changed.")
    return shop
