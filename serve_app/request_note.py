"""What log lines say of the request that they were written for."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class RequestNote:
    """``shop_id`` and ``key_id`` once the caller is known: numbers, never the key."""

    request_id: str
    shop_id: int | None = None
    key_id: int | None = None

    def fields(self) -> dict[str, str | int]:
        """As a log line has them; without those that are not known."""
        fields: dict[str, str | int] = {"request_id": self.request_id}
        if self.shop_id is not None:
            fields["shop_id"] = self.shop_id
        if self.key_id is not None:
            fields["key_id"] = self.key_id
        return fields


CURRENT: ContextVar[RequestNote | None] = ContextVar("request_note", default=None)
