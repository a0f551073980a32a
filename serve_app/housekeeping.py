"""What is removed by itself, once an hour."""

from __future__ import annotations

import logging

from sqlalchemy.orm import Session

from db import mails, signups, webhooks

logger = logging.getLogger("serve_app")
EVERY_S = 3600.0


def tidy(session: Session) -> None:
    """Remove sign-ups that nobody confirmed, and mails and webhook messages of long ago."""
    shops, old = signups.remove_stale_shops(session), mails.remove_old(session)
    if shops or old:
        logger.info("removed %d sign-ups that were not confirmed and %d old mails", shops, old)
    if messages := webhooks.remove_old(session):
        logger.info("removed %d old webhook messages", messages)
