"""The CSV of broken rows reads as the same broken rows, until somebody corrects them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from models.feed import ERROR_COLUMNS, ERROR_TEXT, BrokenRow, FeedFormat, FeedRow
from serve_app.feeds.broken_rows import BrokenRowsCsv, WrittenRow
from tests.feed_files import EXAMPLES, good_rows, rows_of, texts

_WRONG = st.sampled_from(["", "0", "x\x00y", "a.jpg", "{", "s" * 251, '"', "ftp://a"])
_CELL = _WRONG | texts() | st.just("1")
_COLUMNS = ("sku", "name", "Category", "attributes", "attributes.Fit", "photo", "photo_url", "product_url")
_KEYS = st.sampled_from([*_COLUMNS, "category_name", "Sku", "colour", "attr_Fit"])
_VALUE = _CELL | st.none() | st.integers() | st.just("\ud800") | st.lists(st.integers(), max_size=2)


def written(rows: Sequence[BrokenRow]) -> bytes:
    """As CSV, as the API sends it."""
    table = BrokenRowsCsv(column for row in rows for column in row.raw)
    kept = [WrittenRow(row.line, row.code, row.reason, row.raw) for row in rows]
    return (table.header() + "".join(table.lines(kept))).encode()


def broken_rows(rows: Sequence[FeedRow | BrokenRow]) -> list[BrokenRow]:
    return [row for row in rows if isinstance(row, BrokenRow)]


def said(row: BrokenRow) -> dict[str, str]:
    """What its cells say, whichever columns there are beside."""
    return {column: cell for column, cell in row.raw.items() if cell}


def comes_back(rows: Sequence[BrokenRow], *, same_columns: bool = True) -> None:
    """The rows, sent again as they are."""
    again = rows_of(written(rows), FeedFormat.CSV)
    assert len(broken_rows(again)) == len(again) == len(rows)
    for sent, got in zip(rows, broken_rows(again), strict=True):
        if same_columns:
            assert said(got) == said(sent)
        assert sorted(said(got).values()) == sorted(said(sent).values())
        if ERROR_TEXT not in sent.raw:
            assert (got.code, got.sku) == (sent.code, sent.sku)


@given(st.lists(st.lists(_CELL, min_size=7, max_size=9), min_size=1, max_size=5), st.booleans())
def test_broken_rows_of_a_table(rows: list[list[str]], quoted: bool) -> None:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted or set(text) & set(',\n"') else text

    lines = [",".join(map(cell, row)) for row in [list(_COLUMNS), *rows]]
    broken = broken_rows(rows_of("\n".join([*lines, 'a,"b"c,d', "x,y"]).encode(), FeedFormat.CSV))
    assert len(broken) >= 2
    comes_back(broken)


@given(st.lists(st.dictionaries(_KEYS, _VALUE, max_size=5), min_size=1, max_size=5))
def test_broken_records_of_json(records: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(record) + "\n" for record in records) + "{bad\n[1]\n"
    broken = broken_rows(rows_of(text.encode(), FeedFormat.JSONL))
    assert len(broken) >= 2
    comes_back(broken, same_columns=False)


def test_broken_rows_of_shopify_and_merchant_keep_what_their_other_lines_said() -> None:
    shopify = (EXAMPLES / "shopify-2024.csv").read_bytes().replace(b"https://cdn", b"cdn")
    broken = broken_rows(rows_of(shopify))
    assert [row.sku for row in broken] == ["LD-R-S", "LD-R-M", "linen-dress:Blue/S", "wool-scarf"]
    comes_back(broken)
    corrected = good_rows(written(broken).replace(b"cdn.", b"https://cdn."))
    whole = good_rows((EXAMPLES / "shopify-2024.csv").read_bytes())
    assert [(row.sku, row.values, row.photo, row.loose_terms) for row in corrected] == [
        (row.sku, row.values, row.photo, row.loose_terms) for row in whole
    ]
    comes_back(broken_rows(rows_of((EXAMPLES / "merchant.tsv").read_bytes())))


def test_a_corrected_row_is_read() -> None:
    content = written(broken_rows(rows_of(b"sku,name\na,A,x\n,B\n")))
    assert content.splitlines()[1].startswith(b"a,A,2,invalid_input,")
    lines = content.decode().splitlines()
    corrected = [lines[0], lines[1].rpartition(",")[0].rpartition(",")[0] + ",", "b" + lines[2]]
    del corrected[1]
    assert [row.sku for row in good_rows("\n".join(corrected).encode())] == ["b"]


def test_cells_that_are_too_long_or_cannot_be_stored_keep_their_row_broken() -> None:
    long, nul = broken_rows(rows_of(f"sku,name\n,{'x' * 40_000}\n,a\x00b\n".encode()))
    assert long.raw == {"sku": "", "name": "", ERROR_TEXT: "name is too long to be repeated here"}
    assert nul.raw["name"] == "a\N{REPLACEMENT CHARACTER}b"
    comes_back([long, nul])


def test_columns_keep_their_order_and_those_of_one_meaning_are_one() -> None:
    table = BrokenRowsCsv(
        ["Category", "sku", "colour", "Category", "category_name", "attr_Fit", "attributes.Fit"]
    )
    assert table.columns == ["name", "Category", "sku", "colour", "attr_Fit", *ERROR_COLUMNS]
    rows = [WrittenRow(3, "c", "r", {"category_name": "x", "attributes.Fit": "y", ERROR_TEXT: "z"})]
    assert list(table.lines(rows)) == [",x,,,y,3,c,r,z\r\n"]
    assert BrokenRowsCsv(["Variant SKU", "Handle", "Title"]).columns[:3] == ["Variant SKU", "Handle", "Title"]
    assert BrokenRowsCsv([]).columns == ["sku", "name", *ERROR_COLUMNS]
