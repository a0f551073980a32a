"""The tenant comes from the key and nothing else."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.drawings import garment
from tests.shop_client import (
    PHOTOS,
    RECOMMENDATIONS,
    ShopClient,
    assert_hidden_from,
    assert_problem,
    wait_until_refused,
)
from tests.stack import PROJECT, Stack, environment


def test_answers_hold_the_callers_photos_only(new_shop: Callable[[], ShopClient]) -> None:
    """Many shops with the very same photos ask at once, in one batch of embedder and index."""
    shops = [new_shop() for _ in range(4)]
    random_order = [(shop, number) for shop in shops for number in range(6)]
    random.Random(3).shuffle(random_order)
    with ThreadPoolExecutor(6) as merchants:
        list(merchants.map(lambda one: one[0].add(garment("dress", "red", seed=one[1])), random_order))
    own = {shop.shop_id: {photo["ImageID"] for photo in shop.wait_until_embedded()} for shop in shops}
    assert len(set().union(*own.values())) == 24

    def ask(shop: ShopClient) -> tuple[int, set[int]]:
        return shop.shop_id, {one["ImageID"] for one in shop.recommendations("a red dress", 100)}

    with ThreadPoolExecutor(8) as shoppers:
        for shop_id, found in shoppers.map(ask, shops * 10):
            assert found == own[shop_id]


def test_another_shops_photo_is_not_found(new_shop: Callable[[], ShopClient]) -> None:
    owner, stranger = new_shop(), new_shop()
    photo = owner.add(garment(), wait_s=60)
    image_id = photo["ImageID"]
    assert_hidden_from(stranger, image_id)
    assert stranger.recommendations("a red dress") == []
    assert owner.read(image_id) | {"Photo": ""} == photo | {"Photo": ""}


@pytest.mark.parametrize("key", [None, "", "sk_", "x" * 300, "sk_0123456789abcdef_" + "a" * 51])
def test_without_a_known_key_nothing_answers(shop: ShopClient, key: str | None) -> None:
    headers = {} if key is None else {"X-API-Key": key}
    body = {"prompt": "a dress"} | ({} if key is None else {"api_key": key})
    answers = (
        shop.http.request("GET", PHOTOS, headers=headers),
        shop.http.request("POST", PHOTOS, headers=headers, files={"Photo": garment()}, data={"name": "x"}),
        shop.http.request("POST", RECOMMENDATIONS, json=body),
        shop.http.request("GET", "/api/categories/", headers=headers),
    )
    for answer in answers:
        problem = assert_problem(answer, 401, "not_authenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert not key or len(key) < 10 or key not in json.dumps(problem)


def test_a_revoked_key_stops_working_within_5_s(stack: Stack, shop: ShopClient) -> None:
    """Revoked in the database: no process of the service is told."""
    assert shop.recommendations("a dress") == []
    stack.execute("UPDATE api_key SET revoked_at = now() WHERE shop_id = :id", id=shop.shop_id)
    wait_until_refused(shop)
    assert stack.execute("SELECT count(*) FROM image WHERE shop_id = :id", id=shop.shop_id) == [(0,)]


def test_the_command_makes_a_shop_while_the_service_runs(stack: Stack) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    command = [sys.executable, "-m", "scripts.create_shop", "--name", "Rose & Co", "--email", email]
    command += ["--data-dir", str(stack.data_dir)]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=PROJECT, env=environment(), capture_output=True, text=True, check=False
        )

    made = run()
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert key.startswith("sk_")
    assert stack.client(key).all_photos() == []
    assert key not in str(stack.execute("SELECT * FROM api_key"))
    again = run()
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.splitlines() == [f"error: A shop with the e-mail address {email} exists already."]
