"""The outbox, as staff see it."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from db import audit, mails, signups
from models.mail import Mail
from models.staff import Staff
from serve_app.services import Services
from serve_app.sign_up import link_address


def send_again(session: Session, staff: Staff, mail_id: int) -> bool:
    """Queue a failed mail again; false where it did not fail."""
    if not mails.requeue(session, mail_id):
        return False
    audit.record(session, staff, "mail.send_again", mail_id)
    return True


def shown_link(session: Session, staff: Staff, services: Services, mail: Mail) -> str | None:
    """The mail's link, where no mail server is configured and it still works. Audited: it opens the shop."""
    if not services.shows_links:
        return None
    link = signups.find_link(session, mail.link_id)
    if link is None or link.used_at is not None or link.superseded_at is not None:
        return None
    if link.expires_at is None or link.expires_at <= datetime.now(UTC):
        return None
    audit.record(session, staff, "mail.show_link", mail.id, shop_id=mail.shop_id, recipient=mail.recipient)
    return link_address(services, link)
