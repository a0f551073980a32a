"""Imports over HTTP on the real service: through the proxy, the Indexer and back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.media import shop_prefix
from tests.drawings import garment
from tests.shop_client import ShopClient
from tests.stack import PROJECT, Stack, environment

BULK = "/api/image-collection/bulk/"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"P{number}.jpg").write_bytes(garment("dress", seed=number))
    (folder / "P4.jpg").write_bytes(b"no photo")
    return folder


def bulk_import(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.bulk_import", *arguments]
    named = environment(PYTHONPATH=str(PROJECT), **variables)
    return subprocess.run(
        command, cwd=PROJECT, env=named, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_directory_is_imported_both_ways(stack: Stack, shop: ShopClient, directory: Path) -> None:
    errors = directory.parent / "broken.csv"
    over_http = bulk_import(
        *(str(directory), "--url", stack.url, "--json", "--errors", str(errors)), FASHION_API_KEY=shop.key
    )
    assert over_http.returncode == 1, over_http.stderr
    job = json.loads(over_http.stdout.splitlines()[-1])
    counts = {name: count for name, count in job["counts"].items() if count}
    assert counts == {"rows": 5, "checked": 5, "created": 4, "failed": 1, "indexed": 4}
    assert (job["status"], job["phase"]) == ("succeeded", None)
    assert "P4.jpg,5,photo_type_unsupported" in errors.read_text("utf-8")
    assert sorted(photo["sku"] for photo in shop.wait_until_embedded()) == ["P0", "P1", "P2", "P3"]
    assert shop.key not in over_http.stdout + over_http.stderr

    (directory / "P4.jpg").unlink()
    ((email,),) = stack.execute("SELECT email FROM shop WHERE id = :id", id=shop.shop_id)
    directly = bulk_import(str(directory), "--email", email, "--data-dir", str(stack.data_dir))
    assert directly.returncode == 0, directly.stderr
    assert "4 unchanged, 0 failed" in directly.stdout
    assert stack.files("uploads") == []
    assert stack.files(f"{shop_prefix(shop.shop_id)}/imports") == []


def test_a_feed_may_come_slowly(shop: ShopClient) -> None:
    """Serve would end other requests after the time that their header says."""

    def slowly() -> Iterator[bytes]:
        yield b"sku,name\n"
        time.sleep(1.0)
        yield b"A,Dress\n"

    headers = {"X-Request-Timeout-Seconds": "0.2", "Content-Type": "text/csv"}
    answer = shop.request("POST", BULK, content=slowly(), headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.json()["size_bytes"] == 17
