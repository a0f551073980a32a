"""A shop's own webhook: set, read, tried and removed."""

from __future__ import annotations

import secrets

from sqlalchemy.orm import Session

from db import webhooks
from db.open_shops import lock_open
from models.errors import Conflict
from models.webhook import WebhookDelivery
from models.webhook_api import Delivery, WebhookDetail, WebhookSet
from serve_app.services import Services

SHOWN = 20
TEST = "webhook.test"


async def set_my_webhook(services: Services, shop_id: int, url: str) -> WebhookSet:
    """A new secret at each call; from then on only it signs.

    Raises UrlRefused, and NotAuthenticated where the shop is not active.
    """
    services.outbound_rule.parse(url)
    nonce = secrets.token_bytes(32)
    await services.database.run(lambda session: webhooks.set_webhook(session, shop_id, url, nonce))
    return WebhookSet(url=url, secret=services.webhooks.secret(nonce))


async def my_webhook(services: Services, shop_id: int) -> WebhookDetail:
    """Where messages go, and what became of the last ones."""

    def detail(session: Session) -> WebhookDetail:
        found = webhooks.newest(session, shop_id, SHOWN)
        return WebhookDetail(
            url=webhooks.url_of(session, shop_id), deliveries=[_shown(delivery) for delivery in found]
        )

    return await services.database.read(detail)


async def remove_my_webhook(services: Services, shop_id: int) -> None:
    """Also where there is none. Raises NotAuthenticated where the shop is not active."""
    await services.database.run(lambda session: webhooks.remove_webhook(session, shop_id))


async def try_my_webhook(services: Services, shop_id: int) -> Delivery:
    """Queue a message that says nothing. Raises Conflict without a webhook, or with tests that wait."""

    def queue(session: Session) -> Delivery:
        lock_open(session, shop_id)
        if webhooks.waits(session, shop_id, TEST):
            raise Conflict("A test message waits already. Ask for the webhook to see what became of it.")
        delivery = webhooks.add(session, shop_id, TEST, {"message": "This is a test."})
        if delivery is None:
            raise Conflict("This shop has no webhook. Set its address first.")
        return _shown(delivery)

    return await services.database.run(queue)


def _shown(delivery: WebhookDelivery) -> Delivery:
    return Delivery.model_validate(delivery, from_attributes=True)
