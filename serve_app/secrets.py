"""API keys, one-time links, secrets of webhooks and signed photo addresses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
import zlib
from dataclasses import dataclass

from configs.settings import derive_secret
from models.shop import KeyScope

_KEY = re.compile(
    r"(?P<prefix>sk|pk)_(?P<public_id>[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{43})(?P<check>[0-9a-f]{8})"
)

REPORT_LIFETIME_S = 30 * 86_400
PREFIXES = {KeyScope.SECRET: "sk", KeyScope.PUBLISHABLE: "pk"}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the only moment at which it is known whole."""

    text: str
    public_id: str
    secret_hmac: bytes


class KeyMint:
    """Makes and checks keys: ``sk_<16 hex public id>_<256 random bits><CRC-32>``, stored as HMAC-SHA256.

    Publishable keys begin with ``pk_``.
    """

    def __init__(self, root_secret: str) -> None:
        self._pepper = derive_secret(root_secret, "api-key")

    def new(self, scope: KeyScope = KeyScope.SECRET) -> NewKey:
        public_id = secrets.token_hex(8)
        body = f"{PREFIXES[scope]}_{public_id}_{secrets.token_urlsafe(32)}"
        text = f"{body}{zlib.crc32(body.encode()):08x}"
        return NewKey(text, public_id, self.digest(text))

    def digest(self, key: str) -> bytes:
        return hmac.new(self._pepper, key.encode(), hashlib.sha256).digest()

    def public_id(self, key: str) -> str | None:
        """The key's public id, or None when the text cannot be a key (shape or checksum)."""
        match = _KEY.fullmatch(key)
        if match is None or f"{zlib.crc32(key[:-8].encode()):08x}" != match["check"]:
            return None
        return match["public_id"]

    def matches(self, key: str, secret_hmac: bytes) -> bool:
        """Constant-time comparison with what is stored."""
        return hmac.compare_digest(self.digest(key), secret_hmac)


class ReportSigner:
    """Addresses of deletion reports. The shop has no key any more, so the address is the permission."""

    def __init__(self, root_secret: str) -> None:
        self._secret = derive_secret(root_secret, "deletion-report")

    def path(self, job_id: int) -> str:
        """``/api/shops/deletions/ID/?expires=…&signature=…``, valid for 30 days."""
        expires = int(time.time()) + REPORT_LIFETIME_S
        return (
            f"/api/shops/deletions/{job_id}/?expires={expires}&signature={self._signature(job_id, expires)}"
        )

    def valid(self, job_id: int, expires: int, signature: str) -> bool:
        """Whether that address was signed here and has not expired."""
        expected = self._signature(job_id, expires)
        return hmac.compare_digest(expected.encode(), signature.encode()) and expires >= time.time()

    def _signature(self, job_id: int, expires: int) -> str:
        return hmac.new(self._secret, f"{job_id}/{expires}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class NewLink:
    """What is stored of a one-time link."""

    nonce: bytes
    token_hash: bytes


class LinkMint:
    """One-time links. A token has 256 bits and is derived from its stored nonce under the server's secret.

    So the same link can be mailed again after a crash, and a copy of the database opens none.
    """

    def __init__(self, root_secret: str) -> None:
        self._secret = derive_secret(root_secret, "signup-link")

    def new(self) -> NewLink:
        nonce = secrets.token_bytes(32)
        return NewLink(nonce, self.digest(self.token(nonce)))

    def token(self, nonce: bytes) -> str:
        """43 characters, fit for a URL."""
        derived = hmac.new(self._secret, nonce, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(derived).rstrip(b"=").decode()

    def digest(self, token: str) -> bytes:
        """By which a link is found; 256 random bits need no slow hash."""
        return hashlib.sha256(token.encode("utf-8", "replace")).digest()


class WebhookMint:
    """Secrets of webhooks (Standard Webhooks), derived from a stored nonce under the server's secret."""

    def __init__(self, root_secret: str) -> None:
        self._secret = derive_secret(root_secret, "webhook")

    def secret(self, nonce: bytes) -> str:
        """``whsec_`` and 32 bytes in base64."""
        derived = hmac.new(self._secret, nonce, hashlib.sha256).digest()
        return f"whsec_{base64.b64encode(derived).decode()}"


class PhotoSigner:
    """Photo addresses that expire. A new address is stable within half a lifetime, so that it caches."""

    def __init__(self, root_secret: str, lifetime_s: int) -> None:
        self._secret = derive_secret(root_secret, "photo-url")
        self._lifetime_s = lifetime_s

    def path(self, image_id: int, photo_sha256: str) -> str:
        """``/media/ID/VERSION?expires=…&signature=…``; VERSION changes with the photo."""
        half = max(self._lifetime_s // 2, 1)
        expires = (int(time.time()) // half + 2) * half
        version = photo_sha256[:16]
        signature = self._signature(image_id, version, expires)
        return f"/media/{image_id}/{version}?expires={expires}&signature={signature}"

    def valid(self, image_id: int, version: str, expires: int, signature: str) -> bool:
        """Whether that address was signed here and has not expired."""
        expected = self._signature(image_id, version, expires)
        return hmac.compare_digest(expected.encode(), signature.encode()) and expires >= time.time()

    def _signature(self, image_id: int, version: str, expires: int) -> str:
        text = f"{image_id}/{version}/{expires}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]
