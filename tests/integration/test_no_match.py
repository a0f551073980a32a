"""The floor on the real stack: it comes with the catalogue, and follows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.drawings import garment
from tests.shop_client import RECOMMENDATIONS, ShopClient

KINDS = ("dress", "hat", "trousers", "bag")
COLOURS = ("red", "black", "yellow")
PATIENCE_S = 60.0
IN_A_ROW = 8
NONSENSE = ("quarterly tax report", "asdf qwer")


def until(shop: ShopClient, good: Callable[[dict[str, Any] | None], bool]) -> dict[str, Any] | None:
    """The shop's floor, once it is good."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        floor: dict[str, Any] | None = shop.request("GET", "/api/shops/me/").json()["score_floor"]
        if good(floor):
            return floor
        assert time.monotonic() < deadline, floor
        time.sleep(0.1)


def answer(shop: ShopClient, prompt: str, **fields: Any) -> dict[str, Any]:
    return dict(shop.request("POST", RECOMMENDATIONS, json={"prompt": prompt} | fields).json())


def test_nonsense_finds_nothing_as_soon_as_the_catalogue_is_known(shop: ShopClient) -> None:
    photos = [
        shop.add(garment(kind, colour), name=f"{colour} {kind}")["ImageID"]
        for kind in KINDS
        for colour in COLOURS
    ]
    shop.wait_until_embedded()
    computed = until(shop, lambda floor: floor is not None and floor["floor"] is not None)
    assert computed is not None
    deadline = time.monotonic() + PATIENCE_S
    learnt = 0
    while learnt < IN_A_ROW:  # each replica of the Ingress learns it within 1.5 s
        learnt = learnt + 1 if answer(shop, NONSENSE[0])["no_match"] else 0
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for prompt in NONSENSE:
        assert answer(shop, prompt)["recommendations"] == []
        assert len(answer(shop, prompt, min_score=-1)["recommendations"]) == 5
    for prompt in ("a red dress", "black trousers", "yellow bag"):
        found = answer(shop, prompt)
        assert (found["no_match"], found["recommendations"][0]["name"]) == (
            False,
            " ".join(prompt.split()[-2:]),
        )
    for image_id in photos[9:]:
        assert shop.delete(image_id).status_code == 204
    later = until(shop, lambda floor: floor is not None and floor["floor"] is None)
    assert later is not None
    assert later["computed_at"] > computed["computed_at"], "nine photos are too few"
