"""Makes the mails of the outbox and hands them to the mail server."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import re
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, parseaddr
from functools import cache, partial
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session

from configs.serving import AccountArgs
from configs.settings import Settings
from db import mails
from db.mails import ClaimedMail
from db.session import Database
from models.mail import MailKind
from serve_app.retry_pauses import pause_after
from serve_app.secrets import LinkMint

logger = logging.getLogger("serve_app")

TIMEOUT_S = 15.0
MAX_REASON_CHARACTERS = 300
SUBJECTS = {MailKind.ACTIVATION: "Activate your shop", MailKind.RECOVERY: "New keys for your shop"}
ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{24,}")  # what may be a token, or a login in base64
TEMPLATES = Path(__file__).parent / "mails"


class NotSent(Exception):
    """The mail server did not take the mail; the message says why, without secrets."""


class Mailer:
    """One mail at a time, each over a connection of its own. Without SMTP_HOST, links are noted instead."""

    def __init__(self, settings: Settings, mint: LinkMint, lifetime_h: float) -> None:
        self._settings = settings
        self._mint = mint
        self._lifetime_h = lifetime_h
        self._page_base = settings.page_base()
        self._sender = settings.smtp_from or default_sender(settings)

    def send(self, mail: ClaimedMail) -> None:
        """Blocks, at most ``TIMEOUT_S`` for each of the server's answers. Raises NotSent."""
        if self._settings.smtp_host is None:
            self._note_link(mail)
            return
        message = self.message(mail)
        try:
            self._deliver(self._settings.smtp_host, mail.recipient, message)
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            raise NotSent(self._without_secrets(_reason(error), mail)) from None

    def message(self, mail: ClaimedMail) -> EmailMessage:
        """The same for the same mail, but for its date: a repeated delivery has the same Message-ID."""
        values = {"link": self._link(mail), "lifetime": _duration(self._lifetime_h)}
        message = EmailMessage(SMTP)
        message["Subject"] = SUBJECTS[mail.kind]
        message["From"] = self._sender
        message["To"] = mail.recipient
        message["Date"] = format_datetime(localtime())
        domain = parseaddr(self._sender)[1].rpartition("@")[2]
        message["Message-ID"] = f"<{mail.mail_id}.{mail.token_hash.hex()[:32]}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(_templates().get_template(f"{mail.kind}.txt").render(values))
        html = _templates().get_template(f"{mail.kind}.html").render(values)
        message.add_alternative(html, subtype="html")
        return message

    def _link(self, mail: ClaimedMail) -> str:
        return link_url(self._page_base, self._mint.token(mail.nonce))

    def _deliver(self, host: str, recipient: str, message: EmailMessage) -> None:
        settings = self._settings
        greeting = _host_name(self._page_base)
        with smtplib.SMTP(host, settings.smtp_port, local_hostname=greeting, timeout=TIMEOUT_S) as server:
            if settings.smtp_starttls:
                server.starttls(context=ssl.create_default_context())
            if settings.smtp_user is not None:
                password = settings.smtp_password
                server.login(settings.smtp_user, password.get_secret_value() if password is not None else "")
            sender = parseaddr(self._sender)[1]
            server.send_message(message, from_addr=sender, to_addrs=[recipient])

    def _without_secrets(self, reason: str, mail: ClaimedMail) -> str:
        """Servers may repeat what they were sent."""
        password = self._settings.smtp_password
        for secret in (self._mint.token(mail.nonce), password.get_secret_value() if password else ""):
            reason = reason.replace(secret, "…") if secret else reason
        return ENCODED.sub("…", reason)[:MAX_REASON_CHARACTERS]

    def _note_link(self, mail: ClaimedMail) -> None:
        line = f"{mail.kind} link for {mail.recipient}: {self._link(mail)}"
        if self._settings.link_log is None:
            logger.warning("SMTP_HOST is not set, so nothing was mailed: %s", line)
            return
        descriptor = os.open(self._settings.link_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(line + "\n")


async def send_mail(database: Database, mailer: Mailer, accounts: AccountArgs, mail: ClaimedMail) -> None:
    """Send a claimed mail and note what became of it.

    Between the server's acceptance and the note lies a moment in which a crash repeats the same mail.
    """
    note: Callable[[Session], bool] = partial(mails.finish, mail=mail)
    try:
        await asyncio.to_thread(mailer.send, mail)
    except NotSent as error:
        logger.warning("mail %d was not sent (attempt %d): %s", mail.mail_id, mail.attempts, error)
        pause_s = pause_after(mail.attempts, accounts.mail_retry_s)
        if pause_s is None:
            note = partial(mails.fail, mail=mail, reason=str(error))
        else:
            note = partial(mails.put_off, mail=mail, pause_s=pause_s, reason=str(error))
    await database.run(note)


def link_url(page_base: str, token: str) -> str:
    """The token follows the #: browsers send it to no server, so no log has it."""
    return f"{page_base}/activate/#{token}"


def default_sender(settings: Settings) -> str:
    """The login where that is an address, else no-reply@ the host of the links."""
    if settings.smtp_user is not None and "@" in settings.smtp_user:
        return settings.smtp_user
    host = _host_name(settings.page_base())
    return f"no-reply@{'localhost' if host.startswith('[') else host}"


def _host_name(address: str) -> str:
    """Of a URL, as SMTP writes it: an IP address in brackets."""
    host = urlsplit(address).hostname or "localhost"
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return host
    return f"[{host}]" if number.version == 4 else f"[IPv6:{host}]"


def _reason(error: Exception) -> str:
    """One printable line: the server's own words where it gave any."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        error = smtplib.SMTPResponseException(*next(iter(error.recipients.values())))
    if isinstance(error, smtplib.SMTPResponseException):
        answer = error.smtp_error
        words = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
        text = f"the mail server answered {error.smtp_code} {words}"
    elif isinstance(error, smtplib.SMTPNotSupportedError):
        text = f"{error} Correct SMTP_STARTTLS or SMTP_USER, or use another server."
    elif isinstance(error, ssl.SSLError):
        why = (error.reason or type(error).__name__).replace("_", " ").lower()
        text = f"no safe connection to the mail server: {why}"
    else:
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        text = f"no answer of the mail server: {words}"
    return " ".join(re.sub(r"[^ -~]", " ", text).split())


def _duration(hours: float) -> str:
    return f"{hours:g} hours" if hours != 1 else "1 hour"


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
