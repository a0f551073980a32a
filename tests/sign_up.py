"""A shop that signs up over HTTP and reads its mail."""

from __future__ import annotations

import uuid
from typing import Any

from tests.shop_client import ShopClient
from tests.stack import Stack


def new_address() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def ask(stack: Stack, email: str) -> None:
    answer = stack.http.post("/api/shops/", json={"name": "Rose & Co", "email": email})
    assert answer.status_code == 202, answer.text


def post_token(stack: Stack, token: Any) -> Any:
    return stack.http.post("/api/shops/activate/", json={"token": token})


def keys_of(stack: Stack, token: str) -> tuple[ShopClient, ShopClient]:
    """The shop with its secret and with its publishable key."""
    answer = post_token(stack, token)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    shop_id = found["shop"]["id"]
    return (
        ShopClient(stack.http, shop_id, found["secret_key"]),
        ShopClient(stack.http, shop_id, found["publishable_key"]),
    )


def let_a_minute_pass(stack: Stack, email: str) -> None:
    """So that another mail may go to the address."""
    stack.execute(
        "UPDATE mail SET created_at = created_at - interval '2 minutes' WHERE recipient = :email", email=email
    )
