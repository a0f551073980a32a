# ruff: noqa: RUF001 (the ambiguous letters are meant)
"""URLs that must never lead to a connection, and the names behind some of them."""

from __future__ import annotations

INNER_ADDRESSES = [
    *("127.0.0.1", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255"),
    *("172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "169.254.169.254", "169.254.0.1"),
    *("169.254.170.2", "100.64.0.1", "100.100.100.200", "100.127.255.255", "168.63.129.16", "192.0.0.192"),
    *("192.0.0.8", "192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "198.19.255.255"),
    *("192.88.99.1", "192.31.196.1", "192.52.193.1", "192.175.48.1", "224.0.0.1", "239.255.255.255"),
    *("240.0.0.1", "255.255.255.255"),
]
INNER_ADDRESSES_6 = [
    *("::", "::1", "::127.0.0.1", "::a00:1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("::ffff:8.8.8.8", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1"),
    *("64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1", "100::1", "100:0:0:1::1"),
    *("2001::1", "2001:0:7f00:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2620:4f:8000::1", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fd20:ce::254", "fdff::1", "fe80::1", "fe80::a9fe:a9fe", "febf::1"),
    *("fec0::1", "feff::1", "ff01::1", "ff02::1", "ff0e::1", "2606:4700::5efe:7f00:1"),
    *("2606:4700::200:5efe:a00:1", "4000::1", "e000::1"),
]
ODD_NUMBERS = [
    *("2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1", "0", "1"),
    *("0x0", "0x", "00000177.0.0.1", "127.0.0.01", "127.0.0.1.", "0x7f.1", "0177.1", "2852039166"),
    *("0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "3232235521", "0xC0A80001", "10.1", "256.1.1.1"),
    *("1.2.3", "1.2.3.4.5", "4294967295", "4294967296", "0x100000000", "127.0.0.0x1", "example.0x7f"),
    *(
        "example.127",
        "１２７.０.０.１",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "127．0．0．1",
        "127｡0｡0｡1",
        "0X7F.0.0.1",
    ),
]
INNER_NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "inner.example": ["10.0.0.5"],
    "inner6.example": ["fd00::5"],
    "metadata.google.internal": ["169.254.169.254"],
    "both.example": ["93.184.215.14", "10.0.0.5"],
    "both-late.example": ["93.184.215.14", "2606:4700::1111", "93.184.215.15", "127.0.0.1"],
    "both6.example": ["2606:4700::1111", "::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "zone.example": ["fe80::1%lo"],
    "public-zone.example": ["2606:4700::1111%1"],
    "garbage.example": ["not an address"],
    "unknown.example": [],
    "xn--bcher-kva.example": ["192.168.1.1"],
}
AUTHORITIES = [
    *("user@127.0.0.1", "user:password@127.0.0.1", "example.com@127.0.0.1", "127.0.0.1@example.com"),
    *("@example.com", "example.com:80@127.0.0.1", "example.com%40127.0.0.1", "example.com%2f@127.0.0.1"),
    *("[::1", "::1", "[::1]x", "[fe80::1%25lo]", "[fe80::1%lo]", "[v1.a]", "[127.0.0.1]", "[]", "[[::1]]"),
    *("example.com:", "example.com:0", "example.com:65536", "example.com:99999", "example.com:-1"),
    *("example.com:80:80", "example.com:٨٠", "example.com:6379x", "", ":443", "..", ".example.com"),
    *("example..com", "example.com.", "-example.com", "exam ple.com", "exam%00ple.com", "127.0.0.1%00.com"),
    *("%31%32%37.0.0.1", "example.com%23", "127.0.0.1\\@example.com", "example.com\\127.0.0.1"),
    *("example.com\t", "\texample.com", "exam\nple.com", "example.com\r\nHost: 127.0.0.1", "exa\x00mple.com"),
    *("example\u200b.com", "example\u202e.com", "example.com\u2028", "exa$mple.com", "a,b.com", "a'b.com"),
    *("(example).com", "exa*mple.com", "exa!mple.com", "example.com;127.0.0.1", "example.com&127.0.0.1"),
    *("x" * 64 + ".com", "a." * 130 + "com", "{host}", "<host>", '"host"', "`id`.example.com", "$(id).com"),
]
WHOLE = [
    *("file:///etc/passwd", "gopher://127.0.0.1:6379/_INFO", "ftp://127.0.0.1/a", "dict://127.0.0.1:11211/"),
    *("ldap://127.0.0.1/", "jar:http://127.0.0.1!/", "data:image/png;base64,AAAA", "javascript:alert(1)"),
    *(
        "unix:///var/run/docker.sock",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
        "ws://127.0.0.1/",
        "s3://b/k",
    ),
    *("https:127.0.0.1", "https:/127.0.0.1/", "https:\\\\127.0.0.1\\", "https:///127.0.0.1/", "//127.0.0.1/"),
    *(
        "https//127.0.0.1",
        "127.0.0.1/a.jpg",
        "https ://127.0.0.1/",
        " https://127.0.0.1/",
        "url:https://127.0.0.1",
    ),
    *("https://127.0.0.1/#@example.com/", "https://127.0.0.1?@example.com/", "", "https://", "https"),
    "https://127.0.0.1/" + "a" * 3000,
]


def hostile_urls(ports: dict[int, int]) -> list[str]:
    """Distinct ones. ``ports``: listening on this machine, by family (4, 6)."""
    hosts = [*INNER_ADDRESSES, *(f"[{one}]" for one in INNER_ADDRESSES_6), *ODD_NUMBERS, *INNER_NAMES]
    urls = [f"https://{host}/a.jpg" for host in (*hosts, *AUTHORITIES)]
    urls += [f"{scheme}://{host}:{ports[4]}/" for scheme in ("http", "HTTPS") for host in ODD_NUMBERS]
    urls += [f"http://127.0.0.1:{ports[4]}/", f"http://[::1]:{ports[6]}/", f"http://0.0.0.0:{ports[4]}/"]
    urls += [f"http://[::ffff:127.0.0.1]:{ports[4]}/", f"http://[::]:{ports[6]}/"]
    urls += [f"http://{name}:{ports[6 if '6' in name else 4]}/" for name in INNER_NAMES]
    return list(dict.fromkeys([*urls, *WHOLE]))
