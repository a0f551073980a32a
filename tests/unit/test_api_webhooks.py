"""/api/shops/me/webhook/."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from configs.serving import FetchArgs
from db import webhooks
from models.shop import Shop
from serve_app.outbound.client import OutboundClient
from serve_app.post_webhooks import WebhookPoster
from tests.shop_client import ShopClient
from tests.unit.conftest import FakeService
from tests.web_server import at_home, response, running

WEBHOOK = "/api/shops/me/webhook/"
URL = "https://rose.example/hook?token=of-the-shop"


def put(shop: ShopClient, url: Any = URL) -> Any:
    return shop.request("PUT", WEBHOOK, json={"url": url})


def test_the_secret_is_shown_once_and_never_stored(service: FakeService, shop: ShopClient) -> None:
    assert shop.request("GET", WEBHOOK).json() == {"url": None, "deliveries": []}
    first, second = put(shop), put(shop)
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-store")
    assert first.json()["url"] == URL
    secrets = [answer.json()["secret"] for answer in (first, second)]
    assert secrets[0] != secrets[1]
    assert shop.request("GET", WEBHOOK).json() == {"url": URL, "deliveries": []}
    with service.database.transaction() as session:
        stored = session.get_one(Shop, shop.shop_id)
        assert service.services.webhooks.secret(stored.webhook_nonce or b"") == secrets[1]
    lines = shop.request("GET", "/api/export/").text
    assert json.loads(lines.splitlines()[0])["webhook_url"] == URL
    assert "nonce" not in lines


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://rose.example/hook", "url_refused"),
        ("https://127.0.0.1/hook", "url_refused"),
        ("https://user:hunter22@rose.example/", "url_refused"),
        ("https://rose.example:8443/", "url_refused"),
        ("hook", "url_refused"),
        ("https://rose.example/" + "x" * 2048, "invalid_input"),
        (None, "invalid_input"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused(shop: ShopClient, url: Any, code: str) -> None:
    answer = put(shop, url)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert "hunter22" not in answer.json()["detail"]
    assert shop.request("GET", WEBHOOK).json()["url"] is None


def test_a_test_message_is_queued_and_removed_with_the_webhook(shop: ShopClient) -> None:
    nothing = shop.request("POST", f"{WEBHOOK}test/")
    assert (nothing.status_code, nothing.json()["code"]) == (409, "conflict")
    put(shop)
    queued = shop.request("POST", f"{WEBHOOK}test/")
    assert (queued.status_code, queued.json()["status"]) == (202, "queued")
    assert shop.request("POST", f"{WEBHOOK}test/").status_code == 409
    assert shop.request("GET", WEBHOOK).json()["deliveries"] == [queued.json()]
    assert shop.request("DELETE", WEBHOOK).status_code == 204
    left = shop.request("GET", WEBHOOK).json()
    assert left["url"] is None
    assert [one["status"] for one in left["deliveries"]] == ["failed"]
    assert shop.request("DELETE", WEBHOOK).status_code == 204


def test_shops_have_webhooks_of_their_own(service: FakeService, shop: ShopClient) -> None:
    other = service.new_shop()
    put(shop)
    put(other, "https://other.example/")
    shop.request("POST", f"{WEBHOOK}test/")
    assert other.request("GET", WEBHOOK).json() == {"url": "https://other.example/", "deliveries": []}
    other.request("DELETE", WEBHOOK)
    assert shop.request("GET", WEBHOOK).json()["url"] == URL


def test_the_message_is_verified_with_the_secret_that_was_shown(
    service: FakeService, shop: ShopClient
) -> None:
    secret = put(shop).json()["secret"]
    delivery = shop.request("POST", f"{WEBHOOK}test/").json()

    async def receive() -> Any:
        """Where the Indexer would post it."""
        args = FetchArgs(allow_http=True, allowed_networks=["127.0.0.1"])
        client = OutboundClient(args, resolve=at_home)
        async with running() as server:
            server.answers["/hook"] = [response()]
            with service.database.transaction() as session:
                url = f"http://rose.example:{server.port}/hook"
                session.get_one(Shop, shop.shop_id).webhook_url = url
            claimed = None
            while claimed is None or claimed.shop_id != shop.shop_id:  # other tests' shops have messages, too
                with service.database.transaction() as session:
                    claimed = webhooks.claim(session, 60.0)
            await WebhookPoster(service.database, client, service.services.webhooks, 1.0).post(claimed)
            await client.aclose()
        return server.asked[0]

    request = asyncio.run(receive())
    message = Webhook(secret).verify(request.body, request.headers)
    assert message["type"] == "webhook.test"
    assert request.headers["webhook-id"] == delivery["id"]
    (shown,) = shop.request("GET", WEBHOOK).json()["deliveries"]
    assert (shown["status"], shown["attempts"], shown["error"]) == ("sent", 1, None)
