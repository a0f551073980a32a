"""Filters through the real service: the exact search of its SearchIndex, and the counts of facets."""

from __future__ import annotations

from tests.drawings import garment
from tests.shop_client import RECOMMENDATIONS, ShopClient


def test_a_filter_finds_all_that_match_and_counts_them(shop: ShopClient) -> None:
    colours = ["red", "blue", "red", "green"]
    ids = [
        shop.add(garment(seed=number), name=colour, attributes=f'{{"colour": "{colour}"}}')["ImageID"]
        for number, colour in enumerate(colours)
    ]
    shop.wait_until_embedded()
    wanted = {"attributes": {"colour": {"any": ["red", "green"]}}}
    asked = {"prompt": "a red dress", "number_of_images": 10, "facets": ["attributes.colour"]}
    everything = shop.request("POST", RECOMMENDATIONS, json=asked).json()
    filtered = shop.request("POST", RECOMMENDATIONS, json=asked | {"filters": wanted}).json()
    known = {one["ImageID"]: one["score"] for one in everything["recommendations"]}
    found = {one["ImageID"]: one["score"] for one in filtered["recommendations"]}
    assert set(found) == {ids[0], ids[2], ids[3]}
    assert found.keys() <= known.keys()
    assert all(abs(score - known[image_id]) < 1e-5 for image_id, score in found.items())
    counts = [(one["value"], one["count"]) for one in filtered["facets"]["attributes.colour"]]
    assert counts == [("red", 2), ("green", 1)]
