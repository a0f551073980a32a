"""Mails as a real SMTP server receives them, and what happens when it does not."""

from __future__ import annotations

import datetime
import ipaddress
import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import func, text, update

from configs.serving import AccountArgs
from configs.settings import Settings
from db import mails, signups
from db.mails import ClaimedMail
from db.session import Database
from models.errors import ConfigurationError
from models.mail import Mail, MailKind, MailStatus
from models.shop import Shop, ShopStatus, SignupLink
from serve_app import mailer
from serve_app.followed_file import FollowedFile
from serve_app.housekeeping import tidy
from serve_app.mailer import Mailer, NotSent, default_sender, send_mail
from serve_app.retry_pauses import pause_after
from serve_app.secrets import LinkMint
from serve_app.startup import check_mail
from tests.mail_server import PASSWORD, USER, MailServer

MINT = LinkMint("0123456789abcdef" * 4)
ACCOUNTS = AccountArgs()
TO = "me@rose.example"


@pytest.fixture
def server() -> Iterator[MailServer]:
    one = MailServer()
    one.start()
    yield one
    one.stop()


def settings(server: MailServer | None = None, **changes: Any) -> Settings:
    values: dict[str, Any] = {"public_url": "https://search.example.com/", "local_url": "http://127.0.0.1:1"}
    if server is not None:
        values |= {name.lower(): value for name, value in server.environment().items()}
    return Settings(**(values | changes))


def claimed(kind: MailKind = MailKind.ACTIVATION, mail_id: int = 1, attempts: int = 1) -> ClaimedMail:
    link = MINT.new()
    return ClaimedMail(mail_id, "lease", kind, TO, attempts, link.nonce, link.token_hash)


def mailer_of(server: MailServer | None = None, **changes: Any) -> Mailer:
    return Mailer(settings(server, **changes), MINT, 24.0)


@pytest.mark.parametrize("kind", MailKind)
def test_a_mail_in_text_and_html(server: MailServer, kind: MailKind) -> None:
    mail = claimed(kind)
    mailer_of(server).send(mail)
    (got,) = server.of(TO)
    assert got.message.get_content_type() == "multipart/alternative"
    assert got.link == f"https://search.example.com/activate/#{MINT.token(mail.nonce)}"
    assert got.body("html").count(got.link) == 3
    for body in (got.body("plain"), got.body("html")):
        assert "24 hours" in body
        assert "{{" not in body
        assert "{%" not in body
    assert got.message["To"] == TO
    assert got.message["From"] == got.sender == "no-reply@search.example.com"
    assert got.message["Auto-Submitted"] == "auto-generated"
    assert got.message["Date"]
    assert got.message["Message-ID"].endswith("@search.example.com>")


def test_a_repeated_mail_is_recognised(server: MailServer) -> None:
    mail = claimed()
    for one in (mail, mail, claimed(mail_id=2)):
        mailer_of(server).send(one)
    first, second, other = server.of(TO)
    assert first.message["Message-ID"] == second.message["Message-ID"] != other.message["Message-ID"]
    assert first.link == second.link != other.link


def test_who_sends(server: MailServer) -> None:
    mailer_of(server, smtp_from="Rose Search <hello@rose.example>").send(claimed())
    (got,) = server.of(TO)
    assert (got.message["From"], got.sender) == ("Rose Search <hello@rose.example>", "hello@rose.example")
    assert default_sender(settings(smtp_user="me@mail.example")) == "me@mail.example"
    assert default_sender(settings(smtp_user=USER)) == "no-reply@search.example.com"
    assert default_sender(settings(public_url=None)) == "no-reply@localhost"


@pytest.mark.parametrize("answer", ["451 4.3.0 later", "550 5.1.1 no such person", "554 spam"])
def test_a_refusal_is_told_in_the_servers_words(server: MailServer, answer: str) -> None:
    server.plan(TO, answer)
    with pytest.raises(NotSent, match=answer):
        mailer_of(server).send(claimed())
    assert server.of(TO) == []


def test_a_refusal_holds_no_secret(server: MailServer) -> None:
    mail = claimed()
    token = MINT.token(mail.nonce)
    server.plan(TO, f"554 look: {token} {PASSWORD} \x07{'x' * 900}")
    with pytest.raises(NotSent) as caught:
        mailer_of(server).send(mail)
    assert token not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert len(str(caught.value)) <= mailer.MAX_REASON_CHARACTERS
    assert str(caught.value).isprintable()
    assert caught.value.__cause__ is None


def test_a_wrong_login(server: MailServer) -> None:
    with pytest.raises(NotSent, match="535"):
        mailer_of(server, smtp_password="wrong").send(claimed())


def test_a_server_that_is_not_there(server: MailServer) -> None:
    server.stop()
    with pytest.raises(NotSent, match="Connection refused"):
        mailer_of(server).send(claimed())


def test_a_server_that_says_nothing(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailer, "TIMEOUT_S", 0.2)
    server.plan(TO, "hang")
    with pytest.raises(NotSent, match="timed out"):
        mailer_of(server).send(claimed())


def test_without_starttls_nothing_is_said(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtplib.SMTP, "login", lambda *_: pytest.fail("the password was sent in the clear"))
    with pytest.raises(NotSent, match="STARTTLS"):
        mailer_of(server, smtp_starttls=True).send(claimed())
    assert server.attempts[TO] == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key for 127.0.0.1, which nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[MailServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    one = MailServer(tls=context)
    one.start()
    yield one
    one.stop()


def test_a_certificate_that_nobody_vouches_for(tls_server: MailServer) -> None:
    with pytest.raises(NotSent, match="certificate verify failed"):
        mailer_of(tls_server, smtp_starttls=True).send(claimed())
    assert tls_server.attempts[TO] == 0


def test_mail_over_tls(tls_server: MailServer, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    mailer_of(tls_server, smtp_starttls=True).send(claimed())
    assert [mail.over_tls for mail in tls_server.of(TO)] == [True]


def test_without_a_server_the_link_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, mail = tmp_path / "links.log", claimed()
    log.write_text("of a former run\n")
    followed = FollowedFile(log)
    assert followed.new_lines() == []
    mailer_of(link_log=str(log)).send(mail)
    (line,) = followed.new_lines()
    assert followed.new_lines() == []
    assert line.endswith(f"for {TO}: https://search.example.com/activate/#{MINT.token(mail.nonce)}")
    assert caplog.text == ""
    mailer_of().send(mail)
    assert MINT.token(mail.nonce) in caplog.text


def test_the_file_of_links_is_its_owners(tmp_path: Path) -> None:
    mailer_of(link_log=str(tmp_path / "links.log")).send(claimed())
    assert (tmp_path / "links.log").stat().st_mode & 0o777 == 0o600


def test_pauses_double_and_end_after_three_days() -> None:
    pauses = [pause_after(attempts, 5.0) for attempts in range(1, 400)]
    assert pauses[:9] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    total = sum(pause for pause in pauses if pause is not None)
    assert 3 * 86_400 <= total < 3 * 86_400 + 900
    assert pauses[-1] is None


def test_mails_need_an_address_to_lead_to() -> None:
    check_mail(settings(smtp_host="mail.example.com", local_url=None))
    check_mail(settings(smtp_host="mail.example.com", public_url=None))
    check_mail(settings(public_url=None, local_url=None))
    with pytest.raises(ConfigurationError, match="PUBLIC_URL"):
        check_mail(settings(smtp_host="mail.example.com", public_url=None, local_url=None))
    with pytest.raises(ConfigurationError, match="SMTP_FROM"):
        check_mail(settings(smtp_from="Rose Search"))


@pytest.fixture
def queue(own_database: Database) -> Database:
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    return own_database


def add(database: Database, status: ShopStatus = ShopStatus.PENDING) -> int:
    """A shop with a mail to ``TO``; returns the mail's id."""
    with database.transaction() as session:
        shop = signups.create_or_lock(session, "Rose", TO)
        shop.status = status
        assert shop.id is not None
        new = MINT.new()
        link = signups.add_link(session, shop.id, new.nonce, new.token_hash, 24.0)
        mail = mails.add(session, shop, link, MailKind.ACTIVATION)
        assert mail.id is not None
        return mail.id


def claim(database: Database, lease_s: float = 60.0) -> ClaimedMail | None:
    with database.transaction() as session:
        return mails.claim(session, lease_s, 24.0)


def row(database: Database, mail_id: int) -> Mail:
    with database.transaction() as session:
        found = session.get(Mail, mail_id)
        assert found is not None
        return found


def change(database: Database, table: Any, **values: Any) -> None:
    with database.transaction() as session:
        session.execute(update(table).values(**values))


async def test_a_mail_is_sent_once(queue: Database, server: MailServer) -> None:
    mail_id = add(queue)
    mail = claim(queue)
    assert mail is not None
    assert claim(queue) is None
    await send_mail(queue, mailer_of(server), ACCOUNTS, mail)
    assert (row(queue, mail_id).status, row(queue, mail_id).error) == (MailStatus.SENT, None)
    assert row(queue, mail_id).sent_at is not None
    assert claim(queue) is None
    assert len(server.of(TO)) == 1


async def test_a_refused_mail_is_put_off_and_sent_later(queue: Database, server: MailServer) -> None:
    mail_id = add(queue)
    server.plan(TO, "550 5.7.1 not today")
    for _ in range(2):
        mail = claim(queue)
        assert mail is not None
        await send_mail(queue, mailer_of(server), ACCOUNTS, mail)
        assert claim(queue) is None
        change(queue, Mail, lease_until=func.now())
    stored = row(queue, mail_id)
    assert (stored.status, stored.attempts, stored.error) == (MailStatus.SENT, 2, None)
    assert len(server.of(TO)) == 1


async def test_after_three_days_a_mail_fails_until_staff_queues_it(
    queue: Database, server: MailServer
) -> None:
    mail_id = add(queue)
    change(queue, Mail, attempts=1000)
    server.plan(TO, "451 still full")
    mail = claim(queue)
    assert mail is not None
    await send_mail(queue, mailer_of(server), ACCOUNTS, mail)
    stored = row(queue, mail_id)
    assert stored.status is MailStatus.FAILED
    assert "451 still full" in (stored.error or "")
    with queue.transaction() as session:
        assert mails.requeue(session, mail_id)
        assert not mails.requeue(session, mail_id)
    again = claim(queue)
    assert again is not None
    assert again.attempts == 1
    await send_mail(queue, mailer_of(server), ACCOUNTS, again)
    assert row(queue, mail_id).status is MailStatus.SENT


def test_a_lost_lease_notes_nothing(queue: Database) -> None:
    mail_id = add(queue)
    slow, quick = claim(queue, lease_s=0.0), claim(queue)
    assert slow is not None
    assert quick is not None
    assert slow.nonce == quick.nonce
    with queue.transaction() as session:
        assert not mails.put_off(session, slow, 60.0, "late")
        assert mails.finish(session, quick)
        assert not mails.finish(session, slow)
    assert row(queue, mail_id).status is MailStatus.SENT


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (SignupLink, {"used_at": func.now()}),
        (SignupLink, {"superseded_at": func.now()}),
        (Shop, {"status": ShopStatus.SUSPENDED}),
        (Shop, {"status": ShopStatus.DELETING}),
    ],
)
def test_a_useless_mail_is_cancelled(queue: Database, table: Any, values: dict[str, Any]) -> None:
    mail_id = add(queue)
    change(queue, table, **values)
    assert claim(queue) is None
    assert row(queue, mail_id).status is MailStatus.CANCELLED


def test_a_link_lives_from_its_mail_on(queue: Database) -> None:
    add(queue)
    change(queue, SignupLink, expires_at=func.now() - datetime.timedelta(days=2))
    assert claim(queue) is not None
    with queue.transaction() as session:
        left = session.scalar(text("SELECT expires_at - now() FROM signup_link"))
    assert left is not None
    assert 23.9 < left.total_seconds() / 3600 <= 24


def test_what_nobody_confirmed_is_removed(queue: Database) -> None:
    def shops_after(status: MailStatus, shop: ShopStatus, days: float) -> int:
        change(queue, Mail, status=status)
        change(queue, Shop, status=shop)
        change(queue, SignupLink, expires_at=func.now() - datetime.timedelta(days=days))
        with queue.transaction() as session:
            tidy(session)
            return session.scalar(text("SELECT count(*) FROM shop")) or 0

    add(queue)
    assert shops_after(MailStatus.SENT, ShopStatus.PENDING, 6.9) == 1
    assert shops_after(MailStatus.SENT, ShopStatus.ACTIVE, 8) == 1
    assert shops_after(MailStatus.QUEUED, ShopStatus.PENDING, 8) == 1
    assert shops_after(MailStatus.SENT, ShopStatus.PENDING, 8) == 0


def test_old_mails_are_removed(queue: Database) -> None:
    def mails_after(days: int, status: MailStatus) -> int:
        change(queue, Mail, status=status, created_at=func.now() - datetime.timedelta(days=days))
        with queue.transaction() as session:
            tidy(session)
            return session.scalar(text("SELECT count(*) FROM mail")) or 0

    add(queue, ShopStatus.ACTIVE)
    assert mails_after(89, MailStatus.SENT) == 1
    assert mails_after(91, MailStatus.QUEUED) == 1
    assert mails_after(91, MailStatus.FAILED) == 0
