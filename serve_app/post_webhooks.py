"""Posts the messages of the outbox as Standard Webhooks (standardwebhooks.com) to what shops named."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from db import webhooks
from db.session import Database
from db.webhooks import ClaimedDelivery
from models.errors import UrlRefused
from serve_app.outbound.client import OutboundClient, RequestFailed
from serve_app.outbound.photos import retry_after_s
from serve_app.retry_pauses import pause_after
from serve_app.secrets import WebhookMint

logger = logging.getLogger("serve_app")
LONGEST_PAUSE_S = 6 * 3600.0
GONE = 410


class _NotTaken(Exception):
    """The message names the host, never the URL, which may carry a token."""

    def __init__(self, message: str, *, for_good: bool = False, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.for_good, self.pause_s = for_good, pause_s


class WebhookPoster:
    """``retry_s``: before the second attempt; four times as long each time, 20 attempts in three days.

    A crash after the receiver took a message and before that is noted repeats it, with the same id.
    """

    def __init__(self, database: Database, client: OutboundClient, mint: WebhookMint, retry_s: float) -> None:
        self._database, self._client, self._mint, self._retry_s = database, client, mint, retry_s

    async def post(self, delivery: ClaimedDelivery) -> None:
        """Post a claimed message and note what became of it."""
        note: Callable[[Session], bool] = partial(webhooks.finish, delivery=delivery)
        try:
            await self._post(delivery)
        except _NotTaken as error:
            shop, number = delivery.shop_id, delivery.attempts
            logger.warning("a webhook of shop %d was not taken (attempt %d): %s", shop, number, error)
            note = self._note_of(delivery, error)
        await self._database.run(note)

    async def _post(self, delivery: ClaimedDelivery) -> None:
        body, now = message(delivery.payload), datetime.now(UTC)
        message_id = str(delivery.delivery_id)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self._mint.secret(delivery.nonce)).sign(message_id, now, body),
        }
        try:
            answer = await self._client.post(delivery.url, headers, body.encode())
        except UrlRefused as error:
            raise _NotTaken(error.message) from None
        except RequestFailed as error:
            raise _NotTaken(str(error)) from None
        if not 200 <= answer.status < 300:
            hint = " Correct the webhook's address." if 300 <= answer.status < 400 else ""
            pause_s = retry_after_s(answer.headers.get("retry-after", ""))
            reason = f"{answer.url.host} answered {answer.status}.{hint}"
            raise _NotTaken(reason, for_good=answer.status == GONE, pause_s=pause_s)

    def _note_of(self, delivery: ClaimedDelivery, error: _NotTaken) -> Callable[[Session], bool]:
        pause_s = pause_after(delivery.attempts, self._retry_s, factor=4.0, longest_s=LONGEST_PAUSE_S)
        if error.for_good or pause_s is None:
            return partial(webhooks.fail, delivery=delivery, reason=str(error))
        pause_s = max(pause_s * random.uniform(0.9, 1.1), error.pause_s)
        return partial(webhooks.put_off, delivery=delivery, pause_s=pause_s, reason=str(error))


def message(payload: dict[str, Any]) -> str:
    """The body, the same at each attempt. The database does not keep the order of its keys."""
    ordered = {name: payload[name] for name in ("type", "timestamp", "data")}
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
