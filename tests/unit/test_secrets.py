"""API keys and signed photo addresses."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.settings import derive_secret
from serve_app.secrets import KeyMint, PhotoSigner

ROOT = "root secret"
SHA256 = "0123456789abcdef" * 4


def signed(path: str) -> tuple[int, str, int, str]:
    parts = urlsplit(path)
    _, _, image_id, version = parts.path.split("/")
    query = parse_qs(parts.query)
    return int(image_id), version, int(query["expires"][0]), query["signature"][0]


def test_a_key_is_known_again_and_only_its_hmac_is_kept() -> None:
    mint = KeyMint(ROOT)
    key = mint.new()
    assert key.text.startswith(f"sk_{key.public_id}_")
    assert len(key.public_id) == 16
    assert mint.public_id(key.text) == key.public_id
    assert mint.matches(key.text, key.secret_hmac)
    assert (
        key.secret_hmac
        == hmac.new(derive_secret(ROOT, "api-key"), key.text.encode(), hashlib.sha256).digest()
    )
    assert KeyMint(ROOT).matches(key.text, key.secret_hmac)
    assert not KeyMint("another").matches(key.text, key.secret_hmac)


def test_no_two_keys_are_alike() -> None:
    keys = [KeyMint(ROOT).new() for _ in range(200)]
    assert len({key.text for key in keys}) == len({key.public_id for key in keys}) == 200


def test_a_typing_mistake_is_noticed_without_the_database() -> None:
    mint = KeyMint(ROOT)
    key = mint.new().text
    for place in range(len(key)):
        other = "b" if key[place] != "b" else "c"
        assert mint.public_id(key[:place] + other + key[place + 1 :]) is None
    for changed in (key[:-1], key + "0", key.upper(), f" {key}", f"{key}\n", key.replace("sk_", "pk_")):
        assert mint.public_id(changed) is None


@given(st.text())
def test_no_text_breaks_the_check(text: str) -> None:
    assert KeyMint(ROOT).public_id(text) is None


def test_another_secret_does_not_match() -> None:
    mint = KeyMint(ROOT)
    key, other = mint.new(), mint.new()
    body = f"sk_{key.public_id}_{other.text[20:-8]}"
    forged = f"{body}{zlib.crc32(body.encode()):08x}"
    assert mint.public_id(forged) == key.public_id
    assert not mint.matches(forged, key.secret_hmac)


def test_the_comparison_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("serve_app.secrets.hmac.compare_digest", compare)
    mint = KeyMint(ROOT)
    key = mint.new()
    assert mint.matches(key.text, key.secret_hmac)
    assert compared == [(key.secret_hmac, key.secret_hmac)]


def test_a_photo_address_is_valid_as_it_was_signed_and_not_otherwise() -> None:
    signer = PhotoSigner(ROOT, 3600)
    image_id, version, expires, signature = signed(signer.path(7, SHA256))
    assert (image_id, version) == (7, SHA256[:16])
    assert signer.valid(image_id, version, expires, signature)
    assert not signer.valid(8, version, expires, signature)
    assert not signer.valid(image_id, "f" * 16, expires, signature)
    assert not signer.valid(image_id, version, expires + 1, signature)
    assert not signer.valid(image_id, version, expires, signature[:-1] + "g")
    assert not signer.valid(image_id, version, expires, "\u00e9" * 32)
    assert not PhotoSigner("another", 3600).valid(image_id, version, expires, signature)
    assert not KeyMint(ROOT).matches(signature, derive_secret(ROOT, "photo-url"))


def test_a_photo_address_expires_after_its_lifetime_and_caches_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("serve_app.secrets.time.time", lambda: now)
    signer = PhotoSigner(ROOT, 3600)
    path = signer.path(7, SHA256)
    image_id, version, expires, signature = signed(path)
    assert 1800 < expires - now <= 3600
    now += 1799
    assert signer.path(7, SHA256) == path
    assert signer.valid(image_id, version, expires, signature)
    now = expires + 1
    assert not signer.valid(image_id, version, expires, signature)
    assert signer.path(7, SHA256) != path
