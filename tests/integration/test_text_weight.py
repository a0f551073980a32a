"""Names that contradict the photos, on the real stack: a shop's text weight says which is found."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tests.drawings import garment
from tests.shop_client import ShopClient
from tests.stack import Stack

MY_SHOP = "/api/shops/me/"
PATIENCE_S = 60.0
# Each photo with the name that says what another one shows.
PAIRS = (("dress", "red"), ("hat", "blue"), ("skirt", "green"), ("bag", "yellow"))
PROMPTS = tuple(f"a {colour} {kind}" for kind, colour in PAIRS)
Answer = list[tuple[int, float]]


def upload(shop: ShopClient) -> list[int]:
    """The photo of the n-th garment, under the name of the next one."""
    shown_and_named = zip(PAIRS, PAIRS[1:] + PAIRS[:1], strict=True)
    photos = [
        shop.add(garment(*shown), name=f"{colour} {kind}", description=f"A {kind}, all {colour}.")
        for shown, (kind, colour) in shown_and_named
    ]
    shop.wait_until_embedded()
    return [photo["ImageID"] for photo in photos]


def answers(shop: ShopClient) -> list[Answer]:
    found = [shop.recommendations(prompt, len(PAIRS)) for prompt in PROMPTS]
    return [[(one["ImageID"], one["score"]) for one in answer] for answer in found]


def best(answers: list[Answer]) -> list[int]:
    return [answer[0][0] for answer in answers]


def set_weight(shop: ShopClient, weight: float) -> None:
    """Photos are found all the while."""
    answer = shop.request("PATCH", MY_SHOP, json={"text_weight": weight})
    assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + PATIENCE_S
    while shop.request("GET", MY_SHOP).json()["reindexing"]:
        assert time.monotonic() < deadline
        assert len(shop.recommendations(PROMPTS[0], 10)) == len(PAIRS)
        time.sleep(0.05)


def stored(stack: Stack, shop: ShopClient) -> dict[int, dict[str, Any]]:
    """What PostgreSQL has of each photo's vectors."""
    columns = ("embedded_at", "created_at", "vector_revision", "text_sha256", "item_vector", "indexed")
    rows = stack.execute(
        "SELECT image_id, embedded_at, e.created_at, vector_revision, text_sha256, item_vector,"
        " coalesce(item_vector, vector) FROM embedding e JOIN image ON id = image_id WHERE shop_id = :shop",
        shop=shop.shop_id,
    )
    return {row[0]: dict(zip(columns, row[1:], strict=True)) for row in rows}


def assert_index_has(stack: Stack, shop: ShopClient, rows: dict[int, dict[str, Any]]) -> None:
    """Chroma holds the same photos as PostgreSQL, each where PostgreSQL says."""
    ((version_id,),) = stack.execute("SELECT id FROM index_version WHERE state = 'live'")
    assert stack.vectors().ids(version_id, shop.shop_id) == rows.keys()
    vectors = np.stack([np.frombuffer(row["indexed"], "<f4") for row in rows.values()])
    found = stack.vectors().query(version_id, shop.shop_id, vectors, len(rows))
    own = [dict(hits)[image_id] for image_id, hits in zip(rows, found, strict=True)]
    np.testing.assert_allclose(own, 1.0, atol=1e-5)


def test_the_weight_decides_between_photo_and_words_and_embeds_no_photo(
    stack: Stack, shop: ShopClient
) -> None:
    ids = upload(shop)
    before, rows = answers(shop), stored(stack, shop)
    assert best(before) == ids
    assert {(row["text_sha256"], row["item_vector"]) for row in rows.values()} == {(None, None)}

    set_weight(shop, 0.9)
    assert best(answers(shop)) == ids[-1:] + ids[:-1], "the photo that is called so"
    now = stored(stack, shop)
    assert_index_has(stack, shop, now)
    for image_id, row in now.items():
        assert row["vector_revision"] == rows[image_id]["vector_revision"] + 1
        assert row["item_vector"] is not None

    set_weight(shop, 0.0)
    assert answers(shop) == before
    assert_index_has(stack, shop, stored(stack, shop))
    for image_id, row in stored(stack, shop).items():
        for same in ("embedded_at", "created_at", "item_vector"):
            assert row[same] == rows[image_id][same]


def test_a_shop_with_a_weight_finds_new_photos_and_new_names_by_their_words(
    stack: Stack, shop: ShopClient
) -> None:
    set_weight(shop, 1.0)
    hat, dress = (shop.add(garment("skirt"), name=name, wait_s=60)["ImageID"] for name in ("hat", "dress"))
    assert shop.recommendations("a hat", 1)[0]["ImageID"] == hat
    first = stored(stack, shop)
    assert shop.patch(hat, name="dress").status_code == 200
    assert shop.patch(dress, name="hat").status_code == 200
    deadline = time.monotonic() + PATIENCE_S
    while shop.recommendations("a hat", 1)[0]["ImageID"] != dress:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    now = stored(stack, shop)
    assert [now[one]["created_at"] for one in (hat, dress)] == [
        first[one]["created_at"] for one in (hat, dress)
    ]
