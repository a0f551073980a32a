"""Feeds of photos, and their imports as a shop sees them: over HTTP, to the job's end."""

from __future__ import annotations

import csv
import json
import time
import zipfile
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from scripts.benchmark.photos import PhotoFile
from scripts.benchmark.workbench import Shop, Workbench

PART_BYTES = 2**20
POLL_S = 0.1


def write_zip(path: Path, photos: Sequence[PhotoFile]) -> Path:
    """A ZIP of a JSONL feed and the photos that it names."""
    with zipfile.ZipFile(path, "w") as archive:
        for photo in photos:
            archive.write(photo.path, photo.path.name)
        lines = (
            json.dumps({"sku": f"SKU-{number}", "name": f"Garment {number}", "photo": photo.path.name})
            for number, photo in enumerate(photos)
        )
        archive.writestr("feed.jsonl", "\n".join(lines))
    return path


def write_csv(path: Path, lines: int, photos: Sequence[bytes]) -> Path:
    """A CSV with a photo in each line, as base64; they recur, in turn."""
    texts = [b64encode(photo).decode() for photo in photos]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sku", "name", "description", "attributes.price:number", "photo_base64"])
        for number in range(lines):
            row = f"SKU-{number}", f"Garment {number}", f"One of {lines:,} garments", number % 500
            writer.writerow([*row, texts[number % len(texts)]])
    return path


def import_feed(bench: Workbench, shop: Shop, feed: Path, timeout_s: float) -> dict[str, Any]:
    """Send the feed and wait for its job's end; the job as the shop reads it."""
    kind = "application/zip" if feed.suffix == ".zip" else "text/csv"
    with bench.client(shop) as client:
        answer = client.post(
            "/api/image-collection/bulk/", content=_parts(feed), headers={"Content-Type": kind}
        )
        return _ended(client, answer.raise_for_status().headers["Location"], timeout_s)


def seconds_of(job: dict[str, Any]) -> float:
    """From the first work on it to its end, by the database's clock."""
    begun, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return (ended - begun).total_seconds()


def _parts(feed: Path) -> Iterator[bytes]:
    with feed.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part


def _ended(client: httpx.Client, address: str, timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(address).raise_for_status().json()
        if job["status"] == "succeeded" and not job["counts"]["failed"]:
            return job
        if job["status"] not in ("queued", "running"):
            raise AssertionError(f"the import {job['status']}: {job['counts']} {job['error']}")
        time.sleep(POLL_S)
    raise AssertionError(f"the import did not end within {timeout_s:g} s: {job['counts']}")
