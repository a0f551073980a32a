"""The three routes of the seed, through the real stack."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from db.media import image_prefix
from tests.drawings import garment
from tests.shop_client import PHOTOS, RECOMMENDATIONS, ShopClient, base64_text
from tests.stack import Stack

METADATA: dict[str, Any] = {
    "name": "Marigold floral dress",
    "description": "Red, with flowers.",
    "Category": 1,
    "Styles": 2,
    "AgeGroup": 4,
    "sku": "DRE-001",
    "attributes": {"colour": "red"},
}
WAIT_S = 60.0


def test_upload_read_and_recommend_as_the_seed_does(shop: ShopClient) -> None:
    form = {name: value for name, value in METADATA.items() if name != "attributes"}
    answer = shop.http.request(
        "POST",
        f"{PHOTOS}?wait={WAIT_S}",
        data=form | {"APIKey": shop.key},
        files={"Photo": ("dress.jpg", garment("dress", "red", "floral"), "image/jpeg")},
    )
    assert answer.status_code == 201, answer.text
    photo = answer.json()
    assert answer.headers["location"] == f"{PHOTOS}{photo['ImageID']}/"
    assert {name: photo[name] for name in form} == form
    assert (photo["Processor_embedded"], photo["status"]) == (True, "embedded")
    assert (photo["category_name"], photo["style_name"], photo["age_group_name"]) == (
        "Dresses",
        "Formal",
        "Adults",
    )
    assert shop.get(photo["ImageID"]).json()["ImageID"] == photo["ImageID"]

    body = {"api_key": shop.key, "prompt": "A red dress with floral patterns", "number_of_images": 3}
    for path in (RECOMMENDATIONS, RECOMMENDATIONS.rstrip("/")):
        found = shop.http.request("POST", path, json=body).json()
        assert found.keys() >= {"prompt_id", "model", "recommendations", "took_ms"}
        (one,) = found["recommendations"]
        assert (one["ImageID"], one["sku"], one["rank"]) == (photo["ImageID"], "DRE-001", 1)
        assert -1.0 <= one["score"] <= 1.0
        assert found["model"].startswith("demo-clip@")


def test_prompts_find_the_garment_they_name(shop: ShopClient) -> None:
    wanted = {("dress", "red"), ("hat", "blue"), ("trousers", "black"), ("bag", "yellow"), ("scarf", "green")}
    for kind, colour in sorted(wanted):
        shop.add(garment(kind, colour), name=f"{colour} {kind}")
    shop.wait_until_embedded()
    hits = [
        shop.recommendations(f"a {colour} {kind}", 1)[0]["name"] == f"{colour} {kind}"
        for kind, colour in wanted
    ]
    assert sum(hits) >= 4


def test_the_photo_address_works_from_outside(stack: Stack, shop: ShopClient) -> None:
    photo = shop.add(garment(seed=7))
    assert photo["Photo"].startswith(f"{stack.url}/media/")
    answer = httpx.get(photo["Photo"])
    assert (answer.status_code, answer.content) == (200, garment(seed=7))


def test_a_base64_upload_in_json(shop: ShopClient) -> None:
    photo = base64_text(garment(seed=8))
    answer = shop.request("POST", PHOTOS, json=METADATA | {"Photo": photo}, params={"wait": WAIT_S})
    assert answer.status_code == 201, answer.text
    assert answer.json()["attributes"] == {"colour": "red"}
    assert answer.json()["status"] == "embedded"


def test_metadata_is_not_embedded_again_but_a_new_photo_is(stack: Stack, shop: ShopClient) -> None:
    photo = shop.add(garment("dress", "red"), wait_s=WAIT_S)
    image_id, made = photo["ImageID"], stack.embedded_when(shop.shop_id)
    renamed = shop.patch(image_id, name="New name", Category=3, Photo=base64_text(garment("dress", "red")))
    assert renamed.status_code == 200, renamed.text
    time.sleep(1.0)  # longer than the Indexer takes to notice work
    assert shop.read(image_id)["embedded_at"] == photo["embedded_at"]
    assert stack.embedded_when(shop.shop_id) == made

    changed = shop.request(
        "PATCH", f"{PHOTOS}{image_id}/", files={"Photo": garment("hat", "blue")}, params={"wait": WAIT_S}
    )
    assert (changed.status_code, changed.json()["status"]) == (200, "embedded")
    assert changed.json()["embedded_at"] > photo["embedded_at"]
    assert min(stack.embedded_when(shop.shop_id).values()) > max(made.values())
    assert changed.json()["name"] == "New name"


def test_pages_have_no_doubles_and_no_gaps_while_photos_come_and_go(shop: ShopClient) -> None:
    kept = [shop.add(garment(seed=number), name=f"Photo {number}")["ImageID"] for number in range(12)]
    doomed = [shop.add(garment(seed=number), name="Doomed")["ImageID"] for number in range(12, 18)]
    seen: list[int] = []
    for number, page in enumerate(shop.pages(limit=3)):
        assert len(page) <= 3
        seen += [photo["ImageID"] for photo in page]
        shop.add(garment(seed=100 + number), name="Added meanwhile")
        if doomed:
            assert shop.delete(doomed.pop()).status_code == 204
    assert seen == sorted(set(seen), reverse=True)
    assert set(kept) <= set(seen)


def test_the_photo_failed_for_good_is_retried(stack: Stack, shop: ShopClient) -> None:
    """Its file is removed behind the service's back, so the first attempt cannot succeed."""
    photo = shop.add(garment(seed=1), wait_s=WAIT_S)
    folder = image_prefix(shop.shop_id, photo["ImageID"])
    (file,) = stack.files(folder)
    stack.media.delete_tree(folder)
    stack.execute("DELETE FROM embedding WHERE image_id = :id", id=photo["ImageID"])
    stack.execute("UPDATE image SET status = 'pending' WHERE id = :id", id=photo["ImageID"])
    failed = _until(lambda: shop.read(photo["ImageID"]), "failed")
    assert failed["error"] == "The stored photo is gone."
    stack.media.save(file, garment(seed=1))
    assert shop.retry(photo["ImageID"]).status_code == 202
    assert _until(lambda: shop.read(photo["ImageID"]), "embedded")["error"] is None


def test_many_shoppers_at_once_get_the_answers_of_one(shop: ShopClient) -> None:
    for number, colour in enumerate(("red", "blue", "green", "yellow", "black", "white")):
        shop.add(garment("dress", colour, seed=number), name=colour)
    shop.wait_until_embedded()
    prompts = [f"a {colour} dress" for colour in ("red", "blue", "green", "black")]
    alone = {prompt: shop.recommendations(prompt, 6) for prompt in prompts}
    together: list[tuple[str, list[dict[str, Any]]]] = []

    def ask(prompt: str) -> None:
        together.append((prompt, shop.recommendations(prompt, 6)))

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == len(threads)
    for prompt, found in together:
        assert [one["ImageID"] for one in found] == [one["ImageID"] for one in alone[prompt]]
        assert [one["score"] for one in found] == pytest.approx(
            [one["score"] for one in alone[prompt]], abs=2e-2
        )


def test_the_service_describes_itself(stack: Stack) -> None:
    ready = httpx.get(f"{stack.url}/readyz").json()
    assert ready["status"] == "ready"
    assert set(ready["checks"].values()) == {"ok"}
    assert httpx.get(f"{stack.url}/healthz").json() == {"status": "ok"}
    paths = httpx.get(f"{stack.url}/openapi.json").json()["paths"]
    assert paths.keys() >= {PHOTOS, RECOMMENDATIONS, f"{PHOTOS}{{image_id}}/", "/api/categories/"}
    assert urlsplit(stack.url).hostname == "127.0.0.1"


def _until(read: Any, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        photo: dict[str, Any] = read()
        if photo["status"] == status:
            return photo
        time.sleep(0.2)
    raise AssertionError(photo)
