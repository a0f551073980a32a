"""Origins are compared as browsers write them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.origins import normalised_origin

labels = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
hosts = (
    st.lists(labels, min_size=1, max_size=4)
    .map(".".join)
    .filter(lambda host: not host.rpartition(".")[2].isdigit())
)
ports = st.integers(1, 65_535)


def cased(text: str, upper: list[bool]) -> str:
    return "".join(
        letter.upper() if upper[place % len(upper)] else letter for place, letter in enumerate(text)
    )


@given(
    host=hosts,
    port=ports | st.none(),
    upper=st.lists(st.booleans(), min_size=1),
    slash=st.sampled_from(["", "/"]),
    space=st.sampled_from(["", " "]),
)
def test_however_it_is_written_it_becomes_what_browsers_send(
    host: str, port: int | None, upper: list[bool], slash: str, space: str
) -> None:
    written = f"https://{host}" + ("" if port is None else f":{port}") + slash
    expected = f"https://{host}" + ("" if port in {None, 443} else f":{port}")
    assert normalised_origin(f"{space}{cased(written, upper)}{space}") == expected
    assert normalised_origin(expected) == expected


@given(st.text(max_size=80) | st.text("htps:/.a1[]@*?#%\\ ", max_size=40).map("https://".__add__))
def test_whatever_is_accepted_is_an_origin_and_stays_the_same(text: str) -> None:
    try:
        origin = normalised_origin(text)
    except ValueError:
        return
    assert normalised_origin(origin) == origin
    parts = urlsplit(origin)
    assert f"{parts.scheme}://{parts.netloc}" == origin == origin.lower()
    assert parts.hostname
    assert parts.username is None
    assert origin.isascii()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:5173", "http://[::1]:5173"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ("https://XN--bcher-kva.example:443/", "https://xn--bcher-kva.example"),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
    ],
)
def test_the_own_machine_and_international_names(written: str, expected: str) -> None:
    assert normalised_origin(written) == expected


@pytest.mark.parametrize(
    "refused",
    [
        *(
            "",
            "*",
            "null",
            "shop.example",
            "//shop.example",
            "https://",
            "https:///",
            "https://*.shop.example",
        ),
        *("http://shop.example", "http://localhost.shop.example", "http://127.0.0.2", "ftp://shop.example"),
        *(
            "https://shop.example/shop",
            "https://shop.example?",
            "https://shop.example#",
            "https://a@b.example",
        ),
        *("https://shop.example:0", "https://shop.example:65536", "https://shop.example:", "https://a..b"),
        *("https://.example", "https://shop.example.", "https://-a.example", "https://bücher.example"),
        *("https://256.1.1.1", "https://1.2.3", "https://[::g]", "https://[::1", "https://a b.example"),
        *("https://shop.example\nhttps://b.example", "https://" + "a" * 64, "https://" + "a.b" * 90),
        "https://shop.example, https://b.example",
    ],
)
def test_what_no_browser_sends_or_is_not_safe_is_refused(refused: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|names)"):
        normalised_origin(refused)
