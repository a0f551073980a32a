"""A real SMTP server in a thread, which accepts mail, refuses it, or stops answering, as a test says."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session

from serve_app.local_environment import free_ports

PATIENCE_S = 60.0
USER = "canary-smtp-user"
PASSWORD = "canary-smtp-password-7f3a91c2"
OK = "250 Message accepted"
HANG = "hang"
ACCEPT_AND_HANG = "accept and hang"
_LINK = re.compile(r"https?://\S+/activate/#([A-Za-z0-9_-]{43})(?![A-Za-z0-9_-])")


@dataclass(frozen=True)
class ReceivedMail:
    """What arrived, and how."""

    recipient: str
    sender: str
    over_tls: bool
    message: EmailMessage

    def body(self, kind: str) -> str:
        """``plain`` or ``html``."""
        part = self.message.get_body((kind,))
        assert part is not None
        return str(part.get_content())

    @property
    def link(self) -> str:
        found = _LINK.search(self.body("plain"))
        assert found is not None, self.body("plain")
        return found.group()

    @property
    def token(self) -> str:
        return self.link.rpartition("#")[2]


@dataclass
class MailServer:
    """Accepts mail, from who logs in, unless ``plan`` has other answers for an address."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    tls: ssl.SSLContext | None = None
    received: list[ReceivedMail] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)
    _plans: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _controller: Controller | None = None

    def environment(self, **changes: str) -> dict[str, str]:
        """What a service needs to send through it."""
        return {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.port),
            "SMTP_USER": USER,
            "SMTP_PASSWORD": PASSWORD,
            "SMTP_STARTTLS": "false",
        } | changes

    def plan(self, recipient: str, *answers: str) -> None:
        """For the next deliveries to that address: an SMTP answer, HANG or ACCEPT_AND_HANG."""
        self._plans[recipient].extend(answers)

    def start(self) -> None:
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            authenticator=self._authenticate,
            auth_require_tls=False,
            tls_context=self.tls,
        )
        self._controller.start()

    def stop(self) -> None:
        """From here on connections are refused."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def of(self, recipient: str) -> list[ReceivedMail]:
        return [mail for mail in self.received if mail.recipient == recipient]

    def wait_for(self, recipient: str, count: int = 1) -> ReceivedMail:
        """The newest mail, once there are ``count`` for the address."""
        self._wait(lambda: len(self.of(recipient)) >= count)
        return self.of(recipient)[-1]

    def wait_for_attempt(self, recipient: str, count: int = 1) -> None:
        self._wait(lambda: self.attempts[recipient] >= count)

    def _wait(self, done: Any) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, (self.attempts, [mail.recipient for mail in self.received])
            time.sleep(0.02)

    @staticmethod
    def _authenticate(*arguments: Any) -> AuthResult:
        login = arguments[-1]
        known = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=known, handled=False)

    # aiosmtpd's hooks; the names are its own.

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, options
        if not session.authenticated:
            return "530 5.7.0 Log in first"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        del server
        recipient, content = envelope.rcpt_tos[0], envelope.content
        assert isinstance(content, bytes)
        answer = self._plans[recipient].popleft() if self._plans[recipient] else OK
        if answer in (OK, ACCEPT_AND_HANG):
            message = message_from_bytes(content, policy=default)
            assert isinstance(message, EmailMessage)
            over_tls = session.ssl is not None
            self.received.append(ReceivedMail(recipient, envelope.mail_from or "", over_tls, message))
        self.attempts[recipient] += 1
        if answer in (HANG, ACCEPT_AND_HANG):
            await asyncio.Event().wait()
        return answer


@pytest.fixture(scope="session")
def mail_server() -> Iterator[MailServer]:
    """Takes the mail of the session's services."""
    server = MailServer()
    server.start()
    yield server
    server.stop()
