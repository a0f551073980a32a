"""Sign-up and activation: one answer for all addresses, links that work once."""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, update
from sqlmodel import col, select

from models.mail import Mail, MailKind, MailStatus
from models.shop import ApiKey, KeyScope, Shop, ShopStatus, SignupLink
from serve_app import sign_up
from serve_app.secrets import LinkMint
from tests.drawings import garment
from tests.shop_client import ShopClient, assert_problem
from tests.unit.conftest import ROOT_SECRET, FakeService

SHOPS = "/api/shops/"
RESEND = "/api/shops/resend/"
ACTIVATE = "/api/shops/activate/"


@pytest.fixture
def email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


class Outbox:
    """The rows of one address."""

    def __init__(self, service: FakeService, email: str) -> None:
        self.service, self.email = service, email

    def shop(self) -> Shop:
        with self.service.database.transaction() as session:
            return session.scalars(select(Shop).where(col(Shop.email) == self.email)).one()

    def mails(self) -> list[Mail]:
        with self.service.database.transaction() as session:
            query = select(Mail).where(col(Mail.recipient) == self.email).order_by(col(Mail.id))
            return list(session.scalars(query))

    def links(self) -> list[SignupLink]:
        """Oldest first."""
        with self.service.database.transaction() as session:
            query = select(SignupLink).join(Shop).where(col(Shop.email) == self.email)
            return list(session.scalars(query.order_by(col(SignupLink.id))))

    def tokens(self) -> list[str]:
        return [LinkMint(ROOT_SECRET).token(link.nonce) for link in self.links()]

    def let_pass(self, **span: int) -> None:
        """As if the mails had been queued that much earlier."""
        with self.service.database.transaction() as session:
            change = update(Mail).where(col(Mail.recipient) == self.email)
            session.execute(change.values(created_at=col(Mail.created_at) - timedelta(**span)))

    def change_shop(self, **values: Any) -> None:
        with self.service.database.transaction() as session:
            session.execute(update(Shop).where(col(Shop.email) == self.email).values(**values))

    def change_link(self, **values: Any) -> None:
        with self.service.database.transaction() as session:
            of_shop = col(SignupLink.shop_id) == self.shop().id
            session.execute(update(SignupLink).where(of_shop).values(**values))


@pytest.fixture
def outbox(service: FakeService, email: str) -> Outbox:
    return Outbox(service, email)


def post(service: FakeService, path: str, **body: Any) -> Any:
    return service.http.post(path, json=body)


def ask(service: FakeService, email: str, name: str = "Rose & Co") -> Any:
    answer = post(service, SHOPS, name=name, email=email)
    assert answer.status_code == 202, answer.text
    return answer


def activated(service: FakeService, token: str) -> dict[str, Any]:
    answer = post(service, ACTIVATE, token=token)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def test_from_sign_up_to_keys(service: FakeService, outbox: Outbox) -> None:
    ask(service, f" {outbox.email.upper()} ", "Rose & Co ")
    (mail,), (link,), shop = outbox.mails(), outbox.links(), outbox.shop()
    assert (shop.name, shop.status) == ("Rose & Co", ShopStatus.PENDING)
    assert (mail.kind, mail.status, mail.recipient) == (
        MailKind.ACTIVATION,
        MailStatus.QUEUED,
        outbox.email,
    )
    (token,) = outbox.tokens()
    assert link.token_hash == LinkMint(ROOT_SECRET).digest(token)

    found = activated(service, token)
    assert found["shop"] == {"id": shop.id, "name": "Rose & Co", "email": outbox.email}
    assert found["secret_key"].startswith("sk_")
    assert found["publishable_key"].startswith("pk_")
    shop = outbox.shop()
    assert shop.status is ShopStatus.ACTIVE
    assert shop.activated_at is not None
    assert shop.id is not None
    owner = ShopClient(service.http, shop.id, found["secret_key"])
    owner.add(garment())
    shopper = ShopClient(service.http, shop.id, found["publishable_key"])
    assert shopper.ask("a red dress").status_code == 200
    assert_problem(shopper.upload(garment(), name="Dress"), 403, "forbidden")
    with service.database.transaction() as session:
        stored = session.scalars(select(ApiKey).where(col(ApiKey.shop_id) == shop.id)).all()
    assert {key.scope: key.name for key in stored} == {
        KeyScope.SECRET: "First secret key",
        KeyScope.PUBLISHABLE: "First publishable key",
    }


def test_the_publishable_key_is_for_the_named_pages(service: FakeService, outbox: Outbox) -> None:
    ask(service, outbox.email)
    (token,) = outbox.tokens()
    answer = post(service, ACTIVATE, token=token, allowed_origins=["https://shop.example/a"])
    assert_problem(answer, 422, "invalid_input", "/allowed_origins/0")
    answer = post(service, ACTIVATE, token=token, allowed_origins=["https://Shop.example/"])
    assert answer.status_code == 200, answer.text
    with service.database.transaction() as session:
        stored = session.scalars(select(ApiKey).where(col(ApiKey.shop_id) == outbox.shop().id)).all()
    assert {key.scope: key.allowed_origins for key in stored} == {
        KeyScope.SECRET: [],
        KeyScope.PUBLISHABLE: ["https://shop.example"],
    }


def test_every_address_gets_the_same_answer(service: FakeService, email: str) -> None:
    addresses = {status: f"{status}-{email}" for status in ShopStatus}
    for status, address in addresses.items():
        ask(service, address)
        Outbox(service, address).change_shop(status=status)
        Outbox(service, address).let_pass(minutes=2)
    tried = [*addresses.values(), f"new-{email}", f"new-{email}"]
    answers = [ask(service, address) for address in tried]
    answers += [post(service, RESEND, email=address) for address in (*tried, f"unknown-{email}")]
    assert len({answer.content for answer in answers}) == 1
    assert len({str(sorted(answer.headers.items())) for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {202}
    counts = {status: len(Outbox(service, address).mails()) for status, address in addresses.items()}
    assert counts == {
        ShopStatus.PENDING: 2,
        ShopStatus.ACTIVE: 2,
        ShopStatus.SUSPENDED: 1,
        ShopStatus.DELETING: 1,
    }


def test_the_time_of_an_answer_tells_nothing(
    service: FakeService, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def noted(pause_s: float) -> None:
        pauses.append(pause_s)

    monkeypatch.setattr(sign_up, "ANSWER_AFTER_S", 3600.0)
    monkeypatch.setattr(sign_up.asyncio, "sleep", noted)
    ask(service, email)
    ask(service, email)
    post(service, RESEND, email=f"unknown-{email}")
    assert len(pauses) == 3
    assert min(pauses) > 3500


def test_resending_to_an_unknown_address_stores_nothing(service: FakeService, email: str) -> None:
    assert post(service, RESEND, email=email).status_code == 202
    with service.database.transaction() as session:
        assert session.scalars(select(Shop).where(col(Shop.email) == email)).all() == []


@pytest.mark.parametrize("path", [SHOPS, RESEND])
def test_a_second_mail_replaces_the_first(service: FakeService, outbox: Outbox, path: str) -> None:
    ask(service, outbox.email, "One")
    outbox.let_pass(minutes=2)
    body = {"email": outbox.email} | ({"name": "Two"} if path == SHOPS else {})
    assert post(service, path, **body).status_code == 202
    assert [mail.status for mail in outbox.mails()] == [MailStatus.CANCELLED, MailStatus.QUEUED]
    assert outbox.shop().name == ("Two" if path == SHOPS else "One")
    former, newest = outbox.tokens()
    problem = assert_problem(post(service, ACTIVATE, token=former), 410, "gone")
    assert "newer mail" in problem["detail"]
    activated(service, newest)


def test_an_active_shop_gets_further_keys(service: FakeService, outbox: Outbox) -> None:
    ask(service, outbox.email)
    first = activated(service, outbox.tokens()[-1])
    outbox.let_pass(minutes=2)
    ask(service, outbox.email, "A stranger's name")
    assert outbox.mails()[-1].kind is MailKind.RECOVERY
    again = activated(service, outbox.tokens()[-1])
    assert again["shop"] == first["shop"]
    assert len({first["secret_key"], again["secret_key"]}) == 2
    for key in (first["secret_key"], again["secret_key"]):
        assert ShopClient(service.http, first["shop"]["id"], key).all_photos() == []


def test_one_mail_a_minute_and_so_many_a_day(service: FakeService, outbox: Outbox) -> None:
    ask(service, outbox.email)
    ask(service, outbox.email, "Too soon")
    assert [mail.status for mail in outbox.mails()] == [MailStatus.QUEUED]
    assert outbox.shop().name == "Rose & Co"
    for _ in range(8):
        outbox.let_pass(minutes=2)
        ask(service, outbox.email)
    assert len(outbox.mails()) == 5
    outbox.let_pass(days=1)
    ask(service, outbox.email)
    assert len(outbox.mails()) == 6


def test_a_link_works_once(service: FakeService, outbox: Outbox) -> None:
    ask(service, outbox.email)
    (token,) = outbox.tokens()
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda _: post(service, ACTIVATE, token=token), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 410, 410, 410, 410, 410]
    problem = assert_problem(post(service, ACTIVATE, token=token), 410, "gone")
    assert "used already" in problem["detail"]
    assert RESEND in problem["detail"]
    with service.database.transaction() as session:
        query = select(func.count()).select_from(ApiKey).where(col(ApiKey.shop_id) == outbox.shop().id)
        assert session.scalar(query) == 2


def test_an_expired_link(service: FakeService, outbox: Outbox) -> None:
    ask(service, outbox.email)
    outbox.change_link(expires_at=func.now())
    problem = assert_problem(post(service, ACTIVATE, token=outbox.tokens()[0]), 410, "gone")
    assert "expired" in problem["detail"]
    assert RESEND in problem["detail"]
    assert outbox.shop().status is ShopStatus.PENDING


@pytest.mark.parametrize("status", [ShopStatus.SUSPENDED, ShopStatus.DELETING])
def test_a_link_does_not_open_a_closed_shop(service: FakeService, outbox: Outbox, status: ShopStatus) -> None:
    ask(service, outbox.email)
    outbox.change_shop(status=status)
    assert_problem(post(service, ACTIVATE, token=outbox.tokens()[0]), 410, "gone")
    assert outbox.shop().status is status


@pytest.mark.parametrize("token", ["x", "A" * 43, "ä" * 43, "'; DROP TABLE shop; --"])
def test_an_unknown_link(service: FakeService, token: str) -> None:
    problem = assert_problem(post(service, ACTIVATE, token=token), 404, "not_found")
    assert token not in problem["detail"]


def test_signing_up_at_the_same_moment(service: FakeService, outbox: Outbox) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: post(service, SHOPS, name="x", email=outbox.email), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert outbox.shop().status is ShopStatus.PENDING
    assert len(outbox.mails()) == len(outbox.links()) == 1


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"email": "me"}, "/email"),
        ({"email": "me@localhost"}, "/email"),
        ({"email": "me@example.com\nBcc: you@example.com"}, "/email"),
        ({"email": "me@example.com, you@example.com"}, "/email"),
        ({"email": "Me <me@example.com>"}, "/email"),
        ({"email": f"{'x' * 65}@example.com"}, "/email"),
        ({"email": "mé@example.com"}, "/email"),
        ({"email": 7}, "/email"),
        ({"name": " "}, "/name"),
        ({"name": "x" * 251}, "/name"),
        ({"name": "a\x00b"}, ""),
        ({"plan": "gold"}, "/plan"),
    ],
)
def test_what_cannot_be_a_shop(
    service: FakeService, email: str, changes: dict[str, Any], pointer: str
) -> None:
    answer = post(service, SHOPS, **({"name": "Rose", "email": email} | changes))
    assert_problem(answer, 422, "invalid_input", pointer)
    with service.database.transaction() as session:
        assert session.scalars(select(Shop).where(col(Shop.email) == email)).all() == []


def test_a_domain_beyond_ascii_is_kept_as_mail_knows_it(service: FakeService) -> None:
    local = uuid.uuid4().hex
    ask(service, f"{local}@BÜCHER.example")
    assert len(Outbox(service, f"{local}@xn--bcher-kva.example").mails()) == 1


def test_a_token_is_never_repeated_in_an_answer(service: FakeService) -> None:
    for token in ("t0ken" * 50, ["t0ken"], {"t0ken": 1}):
        answer = post(service, ACTIVATE, token=token)
        assert_problem(answer, 422, "invalid_input")
        assert "t0ken" not in answer.text


def test_the_page_runs_only_what_it_brings(service: FakeService) -> None:
    page = service.http.get("/activate/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    for kind in ("style", "script"):
        (inline,) = re.findall(f"<{kind}>(.*?)</{kind}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    outside = ("/*STYLE*/", "/*SCRIPT*/", " src=", " style=", " href=", " onclick=", "url(", "@import")
    assert not any(mark in page.text for mark in outside)
    assert service.http.head("/activate/").status_code == 200
