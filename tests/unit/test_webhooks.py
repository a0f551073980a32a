"""Webhooks: one message for each job that ends, posted until it is taken."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, text, update
from sqlmodel import col, select
from standardwebhooks import Webhook

from configs.serving import FetchArgs
from db import jobs, keys, shop_deletion, webhooks
from db.session import Database
from db.webhooks import ClaimedDelivery
from models.job import JobKind, JobStatus
from models.shop import Shop
from models.webhook import DeliveryStatus, WebhookDelivery
from serve_app.housekeeping import tidy
from serve_app.outbound.client import OutboundClient
from serve_app.post_webhooks import WebhookPoster
from serve_app.retry_pauses import pause_after
from serve_app.secrets import WebhookMint
from tests.web_server import WebServer, at_home, response, running

MINT = WebhookMint("0123456789abcdef" * 4)
NONCE = b"n" * 32
ARGS = FetchArgs(allow_http=True, allowed_networks=["127.0.0.1"])
HOOK = "/hook?token=of-the-shop"


@pytest.fixture
def queue(own_database: Database) -> Database:
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    return own_database


_numbers = itertools.count()


def add_shop(database: Database, url: str | None = "https://rose.example/hook") -> int:
    with database.transaction() as session:
        shop = keys.create_shop(session, "Rose", f"rose-{next(_numbers)}@example.com")
        assert shop.id is not None
        if url is not None:
            webhooks.set_webhook(session, shop.id, url, NONCE)
        return shop.id


def add(database: Database, shop_id: int, event: str = "webhook.test") -> UUID | None:
    with database.transaction() as session:
        delivery = webhooks.add(session, shop_id, event, {"a": "ä"})
        return delivery and delivery.id


def claim(database: Database, lease_s: float = 60.0) -> ClaimedDelivery | None:
    with database.transaction() as session:
        return webhooks.claim(session, lease_s)


def row(database: Database, delivery_id: UUID | None) -> WebhookDelivery:
    with database.transaction() as session:
        return session.get_one(WebhookDelivery, delivery_id)


def change(database: Database, **values: Any) -> None:
    with database.transaction() as session:
        session.execute(update(WebhookDelivery).values(**values))


def make_due(database: Database) -> None:
    change(database, lease_until=func.now() - dt.timedelta(seconds=1))


async def post(database: Database, args: FetchArgs = ARGS) -> None:
    """What the Indexer does with the next message that is due."""
    delivery = claim(database)
    assert delivery is not None
    client = OutboundClient(args, resolve=at_home)
    await WebhookPoster(database, client, MINT, args.retry_s).post(delivery)
    await client.aclose()


def url_at(server: WebServer) -> str:
    return f"http://rose.example:{server.port}{HOOK}"


async def test_a_job_that_ends_is_announced_and_signed(queue: Database) -> None:
    async with running() as server:
        server.answers[HOOK] = [response(b"", "204 No Content")]
        shop_id = add_shop(queue, url_at(server))
        with queue.transaction() as session:
            job = jobs.add(session, JobKind.IMPORT, shop_id)
            job.status, job.counts, job.error = JobStatus.FAILED, {"total": 3, "failed": 1}, "Zu groß: ä"
            delivery = webhooks.announce(session, job)
            assert delivery is not None
            job_id, delivery_id = job.id, delivery.id
        await post(queue)
        (request,) = server.asked
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == str(delivery_id)
    message = Webhook(MINT.secret(NONCE)).verify(request.body, request.headers)
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(message.pop("timestamp"))
    assert abs(age) < dt.timedelta(seconds=30)
    data = {"job_id": job_id, "status": "failed", "counts": {"total": 3, "failed": 1}, "error": "Zu groß: ä"}
    assert message == {"type": "import.failed", "data": data}
    stored = row(queue, delivery_id)
    assert (stored.status, stored.attempts, stored.error) == (DeliveryStatus.SENT, 1, None)
    assert stored.sent_at is not None
    assert claim(queue) is None


def test_a_message_exists_if_and_only_if_the_job_ended(queue: Database) -> None:
    shop_id, silent = add_shop(queue), add_shop(queue, url=None)
    with queue.transaction() as session:
        assert webhooks.announce(session, jobs.add(session, JobKind.IMPORT, shop_id)) is not None
        session.rollback()
    with queue.transaction() as session:
        assert webhooks.announce(session, jobs.add(session, JobKind.IMPORT, silent)) is None
        assert session.scalars(select(WebhookDelivery)).all() == []


async def test_a_crash_after_the_commit_or_after_the_post_repeats_the_same_message(queue: Database) -> None:
    async with running() as server:
        server.answers[HOOK] = [response()]
        delivery_id = add(queue, add_shop(queue, url_at(server)))
        assert claim(queue) is not None  # whoever had it died before it was posted
        assert claim(queue) is None
        make_due(queue)
        await post(queue)
        change(queue, status=DeliveryStatus.QUEUED, lease_token="dead")  # as if it died before its note
        make_due(queue)
        await post(queue)
    first, second = server.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(delivery_id)
    assert first.body == second.body
    assert row(queue, delivery_id).attempts == 3


async def silence(*_: Any) -> None:
    await asyncio.sleep(5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (response(status="500 Oops"), "rose.example answered 500."),
        (response(status="404 Not Found"), "rose.example answered 404."),
        (
            response(status="302 Found", Location="/"),
            "rose.example answered 302. Correct the webhook's address.",
        ),
    ],
)
async def test_a_message_that_is_not_taken_is_posted_again(queue: Database, answer: Any, reason: str) -> None:
    async with running() as server:
        server.answers[HOOK] = [answer, response()]
        delivery_id = add(queue, add_shop(queue, url_at(server)))
        await post(queue)
        stored = row(queue, delivery_id)
        assert (stored.status, stored.error) == (DeliveryStatus.QUEUED, reason)
        assert claim(queue) is None
        make_due(queue)
        await post(queue)
    assert row(queue, delivery_id).status is DeliveryStatus.SENT
    assert len(server.asked) == 2


async def test_a_receiver_that_does_not_answer_is_left(queue: Database) -> None:
    async with running() as server:
        server.answers[HOOK] = [silence]
        delivery_id = add(queue, add_shop(queue, url_at(server)))
        await post(queue, ARGS.model_copy(update={"timeout_s": 0.3}))
    assert row(queue, delivery_id).error == "rose.example took longer than 0.3 s."


async def test_gone_is_for_good_and_three_days_are_enough(queue: Database) -> None:
    async with running() as server:
        server.answers[HOOK] = [response(status="410 Gone"), response(status="503 Later")]
        gone = add(queue, shop_id := add_shop(queue, url_at(server)))
        await post(queue)
        late = add(queue, shop_id)
        change(queue, attempts=50)
        await post(queue)
    found = [(row(queue, one).status, row(queue, one).error) for one in (gone, late)]
    failed = DeliveryStatus.FAILED
    assert found == [(failed, "rose.example answered 410."), (failed, "rose.example answered 503.")]
    assert claim(queue) is None


async def test_retry_after_is_respected(queue: Database) -> None:
    async with running() as server:
        server.answers[HOOK] = [response(status="429 Slowly", Retry_After="50")]
        delivery_id = add(queue, add_shop(queue, url_at(server)))
        await post(queue)
    until = row(queue, delivery_id).lease_until
    assert until is not None
    assert 40 < (until - dt.datetime.now(dt.UTC)).total_seconds() <= 50


async def test_an_inner_address_is_not_asked(queue: Database) -> None:
    delivery_id = add(queue, add_shop(queue, "https://10.0.0.7/hook"))
    await post(queue)
    stored = row(queue, delivery_id)
    assert stored.status is DeliveryStatus.QUEUED
    assert "not a public address" in (stored.error or "")


def test_pauses_grow_to_six_hours_within_three_days() -> None:
    pauses = [pause_after(n, 1.0, factor=4.0, longest_s=21_600.0) for n in range(1, 60)]
    given = [pause for pause in pauses if pause is not None]
    assert given[:4] == [1.0, 4.0, 16.0, 64.0]
    assert given == sorted(given)
    assert max(given) == 21_600
    assert len(given) == 19
    assert 3 * 86_400 <= sum(given) < 3.5 * 86_400


def test_a_shop_has_one_turn_and_the_longest_due_comes_first(queue: Database) -> None:
    busy, other = add_shop(queue), add_shop(queue)
    first, second, third = add(queue, busy), add(queue, busy), add(queue, other)
    claimed = [claim(queue), claim(queue), claim(queue)]
    assert [one and one.delivery_id for one in claimed] == [first, third, None]
    with queue.transaction() as session:
        assert claimed[0] is not None
        assert webhooks.put_off(session, claimed[0], 60.0, "later")
    again = claim(queue)
    assert again is not None
    assert again.delivery_id == second


def test_a_lost_lease_notes_nothing(queue: Database) -> None:
    delivery_id = add(queue, add_shop(queue))
    slow = claim(queue, lease_s=-1.0)
    quick = claim(queue)
    assert slow is not None
    assert quick is not None
    with queue.transaction() as session:
        assert not webhooks.put_off(session, slow, 60.0, "late")
        assert webhooks.finish(session, quick)
        assert not webhooks.fail(session, slow, "late")
    assert row(queue, delivery_id).status is DeliveryStatus.SENT


def test_after_the_webhook_nothing_is_sent(queue: Database) -> None:
    shop_id = add_shop(queue)
    delivery_id = add(queue, shop_id)
    under_way = claim(queue)
    assert under_way is not None
    with queue.transaction() as session:
        webhooks.remove_webhook(session, shop_id)
        assert not webhooks.put_off(session, under_way, 0.0, "late")
        webhooks.set_webhook(session, shop_id, "https://new.example/", NONCE)
    stored = row(queue, delivery_id)
    assert (stored.status, stored.error) == (DeliveryStatus.FAILED, "The webhook was removed.")
    assert claim(queue) is None


def test_a_shop_that_is_being_deleted_gets_no_messages(queue: Database) -> None:
    shop_id = add_shop(queue)
    add(queue, shop_id)
    with queue.transaction() as session:
        shop_deletion.begin(session, session.get_one(Shop, shop_id))
    assert claim(queue) is None
    assert add(queue, shop_id) is None


def test_old_messages_are_removed(queue: Database) -> None:
    def left_after(days: int, status: DeliveryStatus) -> int:
        change(queue, status=status, created_at=func.now() - dt.timedelta(days=days))
        with queue.transaction() as session:
            tidy(session)
            return len(session.scalars(select(col(WebhookDelivery.id))).all())

    add(queue, add_shop(queue))
    assert left_after(29, DeliveryStatus.SENT) == 1
    assert left_after(31, DeliveryStatus.QUEUED) == 1
    assert left_after(31, DeliveryStatus.FAILED) == 0


def test_secrets_differ_by_nonce_and_by_server() -> None:
    others = [MINT.secret(b"m" * 32), WebhookMint("f" * 64).secret(NONCE)]
    assert len({MINT.secret(NONCE), *others}) == 3
    assert MINT.secret(NONCE) == MINT.secret(NONCE)
    assert MINT.secret(NONCE).startswith("whsec_")
