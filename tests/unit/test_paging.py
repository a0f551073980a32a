"""Cursors."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from serve_app.paging import decode_cursor, encode_cursor


@given(st.integers(0, 2**31 - 1))
def test_a_cursor_comes_back(last_id: int) -> None:
    assert decode_cursor(encode_cursor(last_id)) == last_id


def test_no_cursor_is_the_first_page() -> None:
    assert decode_cursor(None) is None


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    with suppress(InvalidInput):
        found = decode_cursor(text)
        assert found is not None
        assert 0 <= found < 2**31


@pytest.mark.parametrize("inside", ["", "i", "7", "i-1", "i1.5", "x7", f"i{2**31}", "i\u0661", "i7 "])
def test_what_no_page_returned_is_refused(inside: str) -> None:
    with pytest.raises(InvalidInput):
        decode_cursor(base64.urlsafe_b64encode(inside.encode()).decode())
