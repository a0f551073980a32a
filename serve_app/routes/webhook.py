"""/api/shops/me/webhook/: where a shop is told that its jobs ended."""

from __future__ import annotations

from fastapi import APIRouter, Response

from models.webhook_api import Delivery, WebhookDetail, WebhookFields, WebhookSet
from serve_app.my_webhook import my_webhook, remove_my_webhook, set_my_webhook, try_my_webhook
from serve_app.routes.dependencies import CallerDep, ServicesDep

router = APIRouter(prefix="/api/shops/me/webhook", tags=["shop"])


@router.put("/")
async def put(
    body: WebhookFields, response: Response, services: ServicesDep, caller: CallerDep
) -> WebhookSet:
    """Set the address of the shop's webhook. Each call makes a new secret, which is shown only here."""
    response.headers["Cache-Control"] = "no-store"
    return await set_my_webhook(services, caller.shop_id, body.url)


@router.get("/")
async def read(services: ServicesDep, caller: CallerDep) -> WebhookDetail:
    """Read the webhook's address and what became of the last messages. Never the secret."""
    return await my_webhook(services, caller.shop_id)


@router.delete("/", status_code=204)
async def delete(services: ServicesDep, caller: CallerDep) -> None:
    """Remove the webhook. Messages that wait are not sent any more."""
    await remove_my_webhook(services, caller.shop_id)


@router.post("/test/", status_code=202, responses={409: {}})
async def test(services: ServicesDep, caller: CallerDep) -> Delivery:
    """Send a test message, within a moment. GET the webhook to see what became of it."""
    return await try_my_webhook(services, caller.shop_id)
