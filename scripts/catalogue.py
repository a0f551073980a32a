"""Upload a catalogue directory (catalogue.csv and photos/) over HTTP, and watch it being indexed."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from models.errors import DependencyUnavailable, InvalidInput
from scripts.console import log

UPLOADERS = 4
POLL_S = 0.5
LISTS = {"category": "/api/categories/", "style": "/api/styles/", "age_group": "/api/age-groups/"}
FIELDS = {"category": "Category", "style": "Styles", "age_group": "AgeGroup"}


def upload_catalogue(client: httpx.Client, directory: Path, known_skus: set[str]) -> int:
    """Send every row whose sku the shop lacks; returns how many. Raises InvalidInput for a bad row."""
    with (directory / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["sku"] not in known_skus]
    if not rows:
        return 0
    ids = {column: _ids(client, path) for column, path in LISTS.items()}
    with _progress("Uploading", len(rows)) as bar, ThreadPoolExecutor(UPLOADERS) as pool:
        for _ in pool.map(lambda row: _upload(client, directory, row, ids), rows):
            bar.advance(bar.task_ids[0])
    return len(rows)


def wait_until_indexed(client: httpx.Client, *, quiet: bool = False) -> list[dict[str, Any]]:
    """All of the shop's photos, once none of them waits. Raises DependencyUnavailable if one failed."""
    photos = list(all_photos(client))
    with _progress("Indexing", len(photos), disable=quiet) as bar:
        while True:
            waiting = sum(photo["status"] in {"pending", "processing"} for photo in photos)
            bar.update(bar.task_ids[0], completed=len(photos) - waiting)
            if not waiting:
                break
            time.sleep(POLL_S)
            photos = list(all_photos(client))
    failed = [photo for photo in photos if photo["status"] == "failed"]
    if failed:
        raise DependencyUnavailable(
            f"{len(failed)} photos failed; the first, {failed[0]['sku']}: {failed[0]['error']}"
        )
    return photos


def all_photos(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """Every photo of the shop, page by page."""
    address: str | None = "/api/image-collection/?limit=200"
    while address is not None:
        answer = client.get(address)
        answer.raise_for_status()
        page = answer.json()
        yield from page["results"]
        address = page["next"]


def _ids(client: httpx.Client, path: str) -> dict[str, int]:
    answer = client.get(path)
    answer.raise_for_status()
    return {term["name"]: term["id"] for term in answer.json()}


def _upload(
    client: httpx.Client, directory: Path, row: dict[str, str], ids: dict[str, dict[str, int]]
) -> None:
    data = {name: row[name] for name in ("sku", "product_id", "name", "description", "attributes")}
    data |= {FIELDS[column]: str(ids[column][row[column]]) for column in LISTS}
    photo = directory / "photos" / row["photo"]
    answer = client.post(
        "/api/image-collection/", data=data, files={"Photo": (photo.name, photo.read_bytes())}
    )
    if answer.status_code != 201:
        raise InvalidInput(
            f"The photo {row['sku']} was refused ({answer.status_code}): {answer.json()['detail']}"
        )


def _progress(label: str, total: int, *, disable: bool = False) -> Progress:
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=log, disable=disable)
    progress.add_task(label, total=total)
    return progress
