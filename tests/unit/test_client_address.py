"""Whose address a stranger's request is counted under."""

from __future__ import annotations

import pytest

from serve_app.client_address import ClientAddress, client_address


@pytest.mark.parametrize(
    ("trusted", "forwarded_for", "expected"),
    [
        (0, [], "10.0.0.9"),
        (0, ["198.51.100.7"], "10.0.0.9"),  # not believed
        (1, ["198.51.100.7"], "198.51.100.7"),
        (1, ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),  # the client made up the first
        (1, ["6.6.6.6", "198.51.100.7"], "198.51.100.7"),  # two headers are one list
        (2, ["6.6.6.6, 198.51.100.7,10.0.0.1"], "198.51.100.7"),
        (2, ["198.51.100.7"], "10.0.0.9"),  # came past one of the proxies
        (1, [], "10.0.0.9"),
        (1, [""], "10.0.0.9"),
        (1, ["unknown"], "10.0.0.9"),
        (1, ["198.51.100.7:51234"], "198.51.100.7"),
        (1, ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        (1, ["[2001:db8:1:2::9]:443"], "2001:db8:1:2::/64"),
        (1, ["fe80::1%eth0"], "fe80::/64"),
        (1, ["::ffff:198.51.100.7"], "198.51.100.7"),
    ],
)
def test_the_address_that_the_trusted_proxies_saw(
    trusted: int, forwarded_for: list[str], expected: str
) -> None:
    # Where no trusted proxy told it, the address is that of the proxy, which all clients share.
    shared = expected == "10.0.0.9"
    assert client_address("10.0.0.9", forwarded_for, trusted) == ClientAddress(expected, shared)


@pytest.mark.parametrize("peer", [None, "", "testclient"])
def test_without_an_address_all_share_one(peer: str | None) -> None:
    assert client_address(peer, [], 0) == ClientAddress("unknown", shared=True)
