"""The shop itself and what it uses."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy.orm import Session

from configs.serving import LimitArgs
from db import images, score_floors, text_weights, usage
from db.open_shops import closed
from models.image import ImageStatus
from models.own_shop_api import EffectiveLimits, ShopChange, ShopDetail, ShopFloor
from models.score_floor import ScoreFloor
from models.shop import Shop
from models.usage_api import DayUsage, PromptFigures, StorageUsage, Usage
from serve_app.services import Services

ONE_DAY = timedelta(days=1)


async def my_shop(services: Services, shop_id: int) -> ShopDetail:
    """Raises NotAuthenticated where the shop went away since its key was checked."""
    return await services.database.run(lambda session: _detail(session, _shop(session, shop_id), services))


async def change_my_shop(services: Services, shop_id: int, change: ShopChange) -> ShopDetail:
    """Photos follow a new weight in the background. Raises NotAuthenticated where the shop is not active."""

    def changed(session: Session) -> ShopDetail:
        return _detail(session, text_weights.change(session, shop_id, change.text_weight), services)

    return await services.database.run(changed)


async def usage_of(services: Services, shop_id: int, days: int, today: date) -> Usage:
    """Of the last ``days`` UTC days, today included."""

    def figures(session: Session) -> Usage:
        shop, first = _shop(session, shop_id), today - (days - 1) * ONE_DAY
        since, until = _midnight(first), _midnight(today + ONE_DAY)
        by_day = usage.latency_by_day(session, shop_id, since, until)
        statuses = images.counts_by_status(session, shop_id)
        return Usage(
            since=first,
            until=today,
            photos={str(one): n for one, n in statuses.items() if one is not ImageStatus.DELETING},
            storage=StorageUsage(**asdict(usage.storage(session, shop_id))),
            prompts_today=by_day.get(today, usage.NOTHING).prompts,
            period=PromptFigures(**asdict(usage.latency(session, shop_id, since, until))),
            days=[
                DayUsage(day=day, **asdict(by_day.get(day, usage.NOTHING)))
                for day in (first + number * ONE_DAY for number in range(days))
            ],
            limits=effective_limits(shop, services.limits),
        )

    return await services.database.run(figures)


def effective_limits(shop: Shop, limits: LimitArgs) -> EffectiveLimits:
    """The shop's own limits where it has some, else the configuration's."""
    return EffectiveLimits(
        requests_per_minute=_first(shop.requests_per_minute, limits.shop_requests_per_minute),
        key_requests_per_minute=limits.key_requests_per_minute,
        prompts_per_day=_first(shop.prompts_per_day, limits.prompts_per_day),
        photos=_first(shop.max_photos, limits.photos),
    )


def _detail(session: Session, shop: Shop, services: Services) -> ShopDetail:
    fields = {"id", "name", "email", "status", "created_at", "activated_at", "text_weight"}
    model_key = services.model.key
    return ShopDetail(
        **shop.model_dump(include=fields),
        limits=effective_limits(shop, services.limits),
        score_floor=_shown(score_floors.find(session, shop.id or 0, model_key), model_key),
        reindexing=text_weights.count_behind(session, shop),
    )


def _shown(floor: ScoreFloor | None, model: str) -> ShopFloor | None:
    if floor is None or floor.computed_at is None:
        return None
    shown = None if floor.floor is None else round(floor.floor, 6)
    return ShopFloor(floor=shown, model=model, computed_at=floor.computed_at)


def _shop(session: Session, shop_id: int) -> Shop:
    shop = session.get(Shop, shop_id)
    if shop is None:
        raise closed()
    return shop


def _first(own: int | None, configured: int | None) -> int | None:
    return configured if own is None else own


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
