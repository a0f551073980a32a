"""Create a shop and print its secret key, once.

    python -m scripts.create_shop --name "Rose & Co" --email owner@example.com --data-dir data

Works while the service runs and while it does not. Without --data-dir the environment names the database
(DATABASE_URL or DB_*) and the SECRET_KEY.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import URL

from configs.settings import Settings
from db import keys
from db.migrate import upgrade
from db.session import Database
from models.errors import ConfigurationError, InvalidInput
from models.shop import KeyScope
from models.shop_api import SignUpRequest
from scripts.command import run
from scripts.named_database import add_data_dir, named_database
from serve_app.data_directory import DataDirectory
from serve_app.secrets import KeyMint


def create_shop(url: str | URL, secret_key: str, name: str, email: str) -> str:
    """Returns the new shop's secret key. Raises InvalidInput, Conflict (e-mail taken)."""
    shop_data = _checked(name, email)
    upgrade(url)
    database = Database(url, connections=1)
    try:
        key = KeyMint(secret_key).new()
        with database.transaction() as session:
            shop = keys.create_shop(session, shop_data.name, shop_data.email)
            if shop.id is None:
                raise AssertionError("a stored row has an id")
            keys.add_key(session, shop.id, key.public_id, key.secret_hmac, KeyScope.SECRET)
    finally:
        database.close()
    return key.text


def _checked(name: str, email: str) -> SignUpRequest:
    """As sign-up over HTTP checks them."""
    try:
        return SignUpRequest(name=name, email=email)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"{first['loc'][0]} {str(first['input'])[:60]!r}: " if first["loc"] else ""
        raise InvalidInput(what + first["msg"].removeprefix("Value error, ")) from None


def main() -> int:
    return run(_parser(), _print_key)


def _print_key(arguments: argparse.Namespace) -> int:
    sys.stdout.write(_create(arguments.data_dir, arguments.name, arguments.email) + "\n")
    sys.stderr.write("This is the shop's secret key. It is shown only now: keep it safe.\n")
    return 0


def create_shop_in(directory: DataDirectory, secret_key: str, name: str, email: str) -> str:
    """The same in a local service's data directory, whether it runs or not."""
    with named_database(directory.path) as url:
        return create_shop(url, secret_key, name, email)


def _create(data_dir: Path | None, name: str, email: str) -> str:
    given = Settings().secret_key
    secret_key = given.get_secret_value() if given is not None else None
    with named_database(data_dir) as url:
        if secret_key is None and data_dir is not None:
            secret_key = DataDirectory(data_dir).secret_key()
        if secret_key is None:
            raise ConfigurationError(
                "SECRET_KEY is not set. Set it to that of the service, or give --data-dir DIR."
            )
        return create_shop(url, secret_key, name, email)


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.create_shop", description=summary)
    parser.add_argument("--name", required=True, help="the shop's name")
    parser.add_argument("--email", required=True, help="its owner's e-mail address, unique")
    add_data_dir(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
