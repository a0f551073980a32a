"""The end of an import told to its shop by a signed webhook, the process that posts it killed meanwhile."""

from __future__ import annotations

import asyncio
import time
from asyncio import StreamWriter
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.chaos.test_killed_parts import kill
from tests.drawings import garment
from tests.import_jobs import csv_feed, wait_for_end
from tests.integration.test_imports import post
from tests.shop_client import ShopClient
from tests.stack import Stack
from tests.web_server import Request, WebServer, response, running

WEBHOOK = "/api/shops/me/webhook/"
PATIENCE_S = 60.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


async def test_the_end_of_an_import_is_posted_whatever_is_killed(stack: Stack, shop: ShopClient) -> None:
    async with running() as web:

        async def hang(_: Request, __: StreamWriter) -> None:
            await asyncio.Event().wait()

        web.answers["/hook"] = [response(b"thanks"), hang, response(b"thanks")]
        secret = await asyncio.to_thread(set_webhook, shop, web.port)
        first = await asyncio.to_thread(import_photo, stack, shop, "A")
        await wait_for(lambda: len(web.asked) == 1)
        second = await asyncio.to_thread(import_photo, stack, shop, "B")
        await wait_for(lambda: len(web.asked) == 2)
        await asyncio.to_thread(kill, stack, "ServeReplica:fashion:Indexer")
        await wait_for(lambda: len(web.asked) == 3)
        told = await asyncio.to_thread(wait_until_noted, shop)
    once, before, again = messages(web, secret)
    assert (once["type"], once["data"]["job_id"]) == ("import.succeeded", first)
    assert once["data"]["counts"]["created"] == 1
    assert (before["data"]["job_id"], before) == (second, again)
    ids = [request.headers["webhook-id"] for request in web.asked]
    assert ids[0] != ids[1] == ids[2]
    assert [(one["id"], one["status"], one["attempts"]) for one in told] == [
        (ids[1], "sent", 2),
        (ids[0], "sent", 1),
    ]


def set_webhook(shop: ShopClient, port: int) -> str:
    answer = shop.request("PUT", WEBHOOK, json={"url": f"http://127.0.0.1:{port}/hook"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["secret"])


def import_photo(stack: Stack, shop: ShopClient, sku: str) -> int:
    """The id of the job, which has ended."""
    job_id = post(shop, csv_feed([{"sku": sku, "name": f"Item {sku}", "photo": garment("dress")}]))
    assert wait_for_end(stack, job_id)["status"] == "succeeded"
    return job_id


def messages(web: WebServer, secret: str) -> list[Any]:
    """What was posted, if all of it is signed."""
    return [Webhook(secret).verify(request.body.decode(), request.headers) for request in web.asked]


def wait_until_noted(shop: ShopClient) -> list[dict[str, Any]]:
    """What the shop reads of its messages, newest first, once all were sent."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        told = shop.request("GET", WEBHOOK).json()["deliveries"]
        if all(one["status"] == "sent" for one in told):
            return list(told)
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


async def wait_for(happened: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
