"""Asking with photos, through the real stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drawings import garment
from tests.shop_client import PHOTOS, RECOMMENDATIONS, ShopClient, base64_text

LOOKS = [(kind, colour) for kind in ("dress", "hat", "trousers") for colour in ("red", "blue")]


def found(answer: Any) -> list[tuple[str, float]]:
    assert answer.status_code == 200, answer.text
    photos = answer.json()["recommendations"]
    assert [one["rank"] for one in photos] == list(range(1, len(photos) + 1))
    return [(one["name"], one["score"]) for one in photos]


def alike(one: list[tuple[str, float]], other: list[tuple[str, float]]) -> None:
    assert [name for name, _ in one] == [name for name, _ in other]
    assert [score for _, score in one] == pytest.approx([score for _, score in other], abs=2e-3)


def test_photos_are_asked_with_in_every_form(shop: ShopClient) -> None:
    ids = {
        f"{colour} {kind}": shop.add(garment(kind, colour), name=f"{colour} {kind}") for kind, colour in LOOKS
    }
    shop.wait_until_embedded()
    asked = garment("dress", "blue")
    form = {"number_of_images": "100"}

    def ask(**body: Any) -> list[tuple[str, float]]:
        return found(shop.request("POST", RECOMMENDATIONS, json={"number_of_images": 100} | body))

    by_file = found(shop.request("POST", RECOMMENDATIONS, data=form, files={"Photo": ("a.jpg", asked)}))
    assert len(by_file) == len(LOOKS)
    assert by_file[0] == ("blue dress", pytest.approx(1.0, abs=1e-3))
    alike(ask(Photo=base64_text(asked)), by_file)
    own = ids["blue dress"]["ImageID"]
    alike(ask(image_id=own), by_file[1:])
    similar = found(shop.request("GET", f"{PHOTOS}{own}/similar/", params=form))
    alike(similar, by_file[1:])

    in_red = ask(image_id=own, prompt="but in red")
    assert in_red[0][0] == "red dress"
    alike(ask(Photo=base64_text(asked), prompt="but in red")[:1], in_red[:1])
    assert ask(prompt="a dress", negative_prompt="red")[0][0] != "red dress"
    assert {name for name, _ in ask(image_id=own, prompt="a hat like this")[:2]} == {"red hat", "blue hat"}
