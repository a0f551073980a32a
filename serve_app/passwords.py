"""Passwords of staff: argon2id, a few at a time, never on the event loop."""

from __future__ import annotations

import asyncio
import base64
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from models.errors import InvalidInput, TooBusy

T = TypeVar("T")

MIN_CHARACTERS = 12
MAX_CHARACTERS = 1000
AT_ONCE = 2
MAX_WAITING = 32


class Passwords:
    """Hashes and compares. Each hash takes 64 MiB (argon2-cffi's defaults, RFC 9106), so few run at once."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobodys = _hash_of_nothing(self._hasher)

    def hash(self, password: str) -> str:
        """argon2id with its parameters and salt. Blocks."""
        return self._hasher.hash(normalised(password))

    def needs_rehash(self, stored: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    async def hash_soon(self, password: str) -> str:
        """The same in a thread. Raises TooBusy where many wait already."""
        return await self._in_turn(partial(self.hash, password))

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether it is that password. With None the answer is no, after the same work as for a real one.

        Raises TooBusy where many wait already.
        """
        return await self._in_turn(partial(self._matches, password, stored))

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise TooBusy("Too many people are logging in at this moment. Try again in a few seconds.")
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1

    def _matches(self, password: str, stored: str | None) -> bool:
        try:
            self._hasher.verify(self._nobodys if stored is None else stored, normalised(password))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None


def check_new_password(password: str, email: str) -> None:
    """Raises InvalidInput for one that is too short, too long, or the e-mail address."""
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise InvalidInput(
            f"The password has {len(password)} characters; give {MIN_CHARACTERS} to {MAX_CHARACTERS}."
        )
    if password.strip().casefold() == email.casefold():
        raise InvalidInput("The password is the e-mail address. Choose another one.")


def normalised(password: str) -> str:
    """One form for the letters that keyboards send in several (NFKC, as NIST SP 800-63B asks)."""
    return unicodedata.normalize("NFKC", password.encode("utf-8", "replace").decode())


def _hash_of_nothing(hasher: PasswordHasher) -> str:
    """A well-formed hash that no password has; comparing with it takes as long as with a real one."""
    salt, digest = (
        base64.b64encode(bytes(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len)
    )
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${digest}"
