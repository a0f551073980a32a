"""What ``scripts.create_shop`` accepts is what sign-up accepts."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import select
from sqlmodel import col

from db.session import Database
from models.errors import Conflict, InvalidInput
from models.shop import Shop
from scripts.create_shop import create_shop


@pytest.mark.parametrize(
    ("name", "email", "words"),
    [
        ("Rose", "me@localhost", "email 'me@localhost'"),
        ("Rose", "me", "email 'me'"),
        (" ", "me@rose.example", "name ' '"),
        ("x" * 251, "me@rose.example", "name 'xxx"),
        ("a\x00b", "me@rose.example", "NUL"),
    ],
)
def test_what_cannot_be_a_shop(postgres_url: str, name: str, email: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        create_shop(postgres_url, "secret", name, email)
    assert words in caught.value.message
    assert len(caught.value.message) < 400


def test_an_address_is_one_address_however_it_is_written(postgres_url: str, database: Database) -> None:
    email = f"{uuid.uuid4().hex}@rose.example"
    create_shop(postgres_url, "secret", " Rose ", f" {email.upper()} ")
    with database.transaction() as session:
        shop = session.scalars(select(Shop).where(col(Shop.email) == email)).one()
    assert shop.name == "Rose"
    with pytest.raises(Conflict):
        create_shop(postgres_url, "secret", "Rose", email)
