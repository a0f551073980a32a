"""From a prompt to what the shop learns of it, through the real stack."""

from __future__ import annotations

import time
from typing import Any

from tests.drawings import garment
from tests.shop_client import ShopClient

PATIENCE_S = 10.0
MISSED = {
    "purple scarf": ["a purple scarf", "purple scarf", "violet scarf please"],
    "yellow boots": ["yellow boots", "boots in yellow"],
}


def logged(shop: ShopClient, prompt_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while (answer := shop.request("GET", f"/api/prompts/{prompt_id}/")).status_code == 404:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return dict(answer.json())


def test_a_click_right_after_the_answer_is_in_the_analytics(shop: ShopClient) -> None:
    for colour in ("red", "blue"):
        shop.add(garment("dress", colour), name=colour)
    shop.wait_until_embedded()
    answer = shop.ask(" A red  DRESS").json()
    (first, *_) = answer["recommendations"]
    body = {"prompt_id": answer["prompt_id"], "ImageID": first["ImageID"], "event": "click"}
    event = shop.request("POST", "/api/events/", json=body)
    assert (event.status_code, event.json()["position"]) == (201, 1)
    silent = shop.ask("a red dress").json()["prompt_id"]
    assert logged(shop, silent)["results"][0]["ImageID"] == first["ImageID"]

    found = shop.request("GET", "/api/analytics/prompts/", params={"days": 2}).json()
    assert found["top"] == [{"prompt": "a red dress", "asked": 2, "no_match": 0, "clicked": 1}]
    assert (found["period"]["click_through"], found["period"]["mean_position"]) == (0.5, 1.0)


def test_what_an_empty_shop_is_asked_for_is_unmet_by_theme(shop: ShopClient) -> None:
    asked = [shop.ask(prompt).json()["prompt_id"] for prompts in MISSED.values() for prompt in prompts]
    for prompt_id in asked:
        logged(shop, prompt_id)
    found = shop.request("GET", "/api/analytics/unmet-demand/").json()
    assert {theme["label"]: theme["distinct_prompts"] for theme in found["themes"]} == {
        "a purple scarf": 3,
        "boots in yellow": 2,
    }
    assert found["themes"][0]["share"] == 0.6
