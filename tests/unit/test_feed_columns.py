"""Shopify's and Google's columns, after their public documentation."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from models.errors import FeedUnreadable
from models.feed import BrokenRow, FeedFormat, FeedRow, PhotoFile, PhotoUrl
from serve_app.feeds.html_text import plain_text
from tests.feed_files import EXAMPLES, good_rows, jsonl_of, rows_of, zip_of

CDN = "https://cdn.shopify.example/files"
LINEN = {
    "vendor": "Rose & Co",
    "type": "Dresses",
    "gender": "female",
    "age_group": "adult",
    "price": 79.0,
    "tags": ["summer", "linen"],
}


def test_a_shopify_export_is_an_item_for_each_variant_on_sale() -> None:
    rows = good_rows((EXAMPLES / "shopify-2024.csv").read_bytes())
    assert [(row.line, row.sku, row.photo) for row in rows] == [
        (2, "LD-R-S", PhotoUrl(f"{CDN}/linen-red.jpg?v=1")),
        (4, "LD-R-M", PhotoUrl(f"{CDN}/linen-red.jpg?v=1")),
        (5, "linen-dress:Blue/S", PhotoUrl(f"{CDN}/linen-blue.jpg?v=1")),
        (7, "wool-scarf", PhotoUrl(f"{CDN}/scarf.jpg")),
    ]
    assert rows[1].values == {
        "name": "Linen Dress",
        "description": "Airy & light.\n100% linen\nSide pockets",
        "product_id": "linen-dress",
        "attributes": LINEN | {"color": "Red", "size": "M"},
    }
    assert rows[2].values["attributes"] == LINEN | {"color": "Blue", "size": "S", "price": 84.0}
    assert [row.loose_terms for row in rows[2:]] == [
        {"Category": ("Dresses", "Clothing", "Apparel & Accessories"), "AgeGroup": ("adult", "Adults")},
        {"Category": ("Scarves & Shawls", "Clothing Accessories", "Apparel & Accessories")},
    ]


def test_the_columns_of_a_newer_shopify_export() -> None:
    rows = good_rows((EXAMPLES / "shopify-2025.csv").read_bytes())
    assert [(row.sku, row.values["attributes"]["size"]) for row in rows] == [("DJ-1", "38"), ("DJ-2", "40")]
    assert {row.values["product_id"] for row in rows} == {"denim-jacket"}
    assert {row.photo for row in rows} == {PhotoUrl(f"{CDN}/denim.jpg")}


def table(*rows: Mapping[str, str]) -> bytes:
    """A CSV of these rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


SHIRT = {
    "Handle": "shirt",
    "Title": "Shirt",
    "Variant SKU": "S-1",
    "Option1 Name": "Size",
    "Option1 Value": "S",
}


@pytest.mark.parametrize(
    ("state", "read"),
    [
        ({"Status": "active"}, True),
        ({"Status": "Draft"}, False),
        ({"Status": "archived"}, False),
        ({"Published": "TRUE"}, True),
        ({"Published": "false"}, False),
        ({"Status": ""}, True),
    ],
)
def test_what_is_not_on_sale_is_no_item(state: dict[str, str], read: bool) -> None:
    variant = {"Handle": "shirt", "Title": "", "Variant SKU": "S-2", **dict.fromkeys(state, "")}
    assert [row.sku for row in rows_of(table(SHIRT | state, variant))] == (["S-1", "S-2"] if read else [])


def test_a_broken_variant_stands_for_itself() -> None:
    second = {"Handle": "shirt", "Variant SKU": "x" * 251, "Option1 Value": "M", "Image Src": f"{CDN}/2.jpg"}
    first = SHIRT | {"Image Src": f"{CDN}/1.jpg", "Tags": "a, b"}
    good, broken = rows_of(table(first, second))
    assert isinstance(good, FeedRow)
    assert isinstance(broken, BrokenRow)
    assert broken.reason.startswith("Variant SKU: String should have at most 250 characters")
    assert broken.raw == first | {"Variant SKU": "x" * 251, "Option1 Value": "M"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"Title": ""}, "Title: String should have at least 1 character"),
        ({"Handle": ""}, "Handle: is empty"),
        ({"Image Src": "shirt.jpg"}, "Image Src: 'shirt.jpg' is no address of a photo"),
        ({"Variant Image": "shirt.jpg"}, "Variant Image: 'shirt.jpg' is no address of a photo"),
        ({"Handle": "h" * 251}, "Handle: String should have at most 250 characters"),
    ],
)
def test_broken_lines_of_shopify_name_its_columns(change: dict[str, str], expected: str) -> None:
    (broken,) = rows_of(table(SHIRT | change))
    assert isinstance(broken, BrokenRow)
    assert broken.reason.startswith(expected)


def test_a_title_and_a_description_longer_than_ours_are_cut() -> None:
    (row,) = good_rows(table(SHIRT | {"Title": "t" * 255, "Body (HTML)": f"<p>{'d' * 6000}</p>"}))
    assert (row.values["name"], row.values["description"]) == ("t" * 250, "d" * 5000)


def test_a_merchant_feed() -> None:
    polo, belt, broken = rows_of((EXAMPLES / "merchant.tsv").read_bytes())
    assert isinstance(polo, FeedRow)
    assert isinstance(belt, FeedRow)
    assert isinstance(broken, BrokenRow)
    assert (polo.sku, polo.photo) == ("tddy123uk", PhotoUrl("https://www.shop.example/image1.jpg"))
    assert polo.values == {
        "name": "Mens Pique Polo Shirt",
        "description": "Made from 100% organic cotton, this classic red men&s polo.",
        "product_id": "AB12345",
        "product_url": "https://www.shop.example/polo?v=red-l",
        "attributes": {
            "brand": "Google",
            "color": "Red/White",
            "size": "L",
            "gender": "male",
            "age_group": "adult",
            "material": "cotton",
            "pattern": "striped",
            "condition": "new",
            "availability": "in_stock",
            "price": 15.0,
            "currency": "GBP",
            "gtin": "3234567890126",
            "mpn": "GO12345OOGLE",
            "product_type": "Home > Men > Polo Shirts",
            "google_product_category": "212",
        },
    }
    assert polo.loose_terms == {"Category": ("Polo Shirts", "Men", "Home"), "AgeGroup": ("adult", "Adults")}
    assert (belt.values["name"], belt.values["product_id"]) == ('Mens 5" Belt', None)
    assert belt.loose_terms["Category"] == ("Belts", "Clothing Accessories", "Apparel & Accessories")
    assert broken.reason == "link: String should match pattern '^https?://' (got 'shop.example/shirt')"


MERCHANT = {"id": "1", "title": "Belt", "image_link": "https://a.example/1.jpg", "item_group_id": "g"}


@pytest.mark.parametrize("prefix", ["", "g:", "G:"])
@pytest.mark.parametrize("space", ["_", " "])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_merchant_names_in_other_spellings(prefix: str, space: str, delimiter: str) -> None:
    header = delimiter.join(prefix + name.replace("_", space) for name in MERCHANT)
    (row,) = good_rows(f"{header}\n{delimiter.join(MERCHANT.values())}\n".encode())
    assert (row.sku, row.photo, row.values["product_id"]) == ("1", PhotoUrl("https://a.example/1.jpg"), "g")


def test_merchant_records_of_json() -> None:
    (row,) = good_rows(jsonl_of([MERCHANT | {"size": 38, "color": "red", "additional_image_link": ["x"]}]))
    assert (row.sku, row.values["attributes"]) == ("1", {"size": "38", "color": "red"})


def test_photos_of_other_feeds_may_lie_in_the_zip() -> None:
    content = zip_of({"1.jpg": b"one", "feed.csv": table(MERCHANT | {"image_link": "1.jpg"})})
    (row,) = good_rows(content)
    assert isinstance(row.photo, PhotoFile)
    content = zip_of({"1.jpg": b"one", "feed.csv": table(SHIRT | {"Image Src": "1.jpg"})})
    (row,) = good_rows(content)
    assert isinstance(row.photo, PhotoFile)


def test_columns_twice_are_refused_where_they_count() -> None:
    with pytest.raises(FeedUnreadable, match="'id' and 'g:id' are one attribute"):
        rows_of(b"id,g:id,title,link\n", FeedFormat.CSV)
    with pytest.raises(FeedUnreadable, match="'variant sku' is there twice"):
        rows_of(b"Handle,Title,Variant SKU,variant sku\n", FeedFormat.CSV)
    assert good_rows(b"Handle,Title,SKU,Variant SKU\nh,T,a,b\n")[0].sku == "b"
    rows = good_rows(b"id,title,link,additional_image_link,additional_image_link\n1,A,,a,b\n")
    assert rows[0].sku == "1"


def test_prices_are_numbers_where_they_can_be() -> None:
    rows = good_rows(table(*(MERCHANT | {"price": price} for price in ("9,90 eur", "12", "from 3", "1e3"))))
    assert [row.values["attributes"] for row in rows] == [
        {"price": 9.9, "currency": "EUR"},
        {"price": 12.0},
        {"price": "from 3"},
        {"price": "1e3"},
    ]


def test_columns_of_attributes_may_hold_numbers_and_lists() -> None:
    header = "sku,name,attributes,Attributes.Fit,attr_size:number,attributes.price:number\n"
    rows = rows_of(
        f'{header}a,A,"{{""a"": 1, ""Fit"": 2}}",a|b c|,36|38.5,49\nb,B,,,,\nc,C,,,,1/2\n'.encode()
    )
    assert isinstance(rows[0], FeedRow)
    assert isinstance(rows[1], FeedRow)
    assert isinstance(rows[2], BrokenRow)
    assert rows[0].values["attributes"] == {"a": 1, "Fit": ["a", "b c"], "size": [36, 38.5], "price": 49}
    assert rows[1].values["attributes"] == {}
    assert rows[2].reason == "attributes.price:number: '1/2' is no number. Write it like 49.9."


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("plain", "plain"),
        ("<p>One<br/>two</p>\n<p>three\nfour</p>", "One\ntwo\nthree four"),
        ("<ul><li>a &lt; b</li><li>c&nbsp;d</li></ul>", "a < b\nc d"),
        ("<style>p {}</style>a<script>if (1 < 2) {}</script>b<!-- c -->d<!-- e", "abd"),
        ("size < 10 and > 5", "size < 10 and > 5"),
        ('<a href="x">link</a>, <b>bo</b>ld', "link, bold"),
        ("<script>never closed", ""),
    ],
)
def test_html_as_text(markup: str, expected: str) -> None:
    assert plain_text(markup) == expected


@pytest.mark.parametrize("part", ["<", "<!--", "<a", "</", "<script>", "<p>", "&", "<a '", "<!-- -->"])
def test_hostile_html_is_no_work(part: str) -> None:
    assert len(plain_text(part * 200_000)) <= 200_000


def test_the_examples_of_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "bulk.md").read_text()
    shown = {kind: re.search(rf"```{kind}\n(sku.*?|\{{.*?)```", guide, re.DOTALL) for kind in ("csv", "json")}
    table, record = (found[1].encode() for found in shown.values() if found)
    dress, skirt = good_rows(table)
    (same,) = good_rows(record)
    assert (dress.sku, dress.values) == (same.sku, same.values)
    assert skirt.values["attributes"] == {"colour": "red", "price": 35}
