"""One round: import and ask, lose a worker node, import and ask, lose the head; and what must hold after."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from models.errors import DependencyUnavailable
from models.import_job import ImportOptions
from scripts.benchmark.photos import jpeg
from scripts.catalogue import all_photos
from scripts.cluster.nodes import Cluster
from scripts.cluster.shoppers import Shoppers
from scripts.console import out
from scripts.importing.feed_source import feed_source
from scripts.importing.over_http import over_http

RETURN_LIMIT_S = 120.0
JOB_LIMIT_S = 300.0
STEADY_ANSWERS = 20
PHOTO_SIZE_PX = (480, 600)
POLL_S = 0.5


@dataclass(frozen=True)
class Kill:
    """All from the kill: ``away_s``, the longest time without an answer; ``steady_s``, until none failed;
    ``control_s``, until the head, an old or a new one, knew all living nodes and a running application.
    """

    what: str
    processes: int
    away_s: float
    steady_s: float
    control_s: float
    failed_requests: int
    job_s: float
    lost_photos: int

    @property
    def met(self) -> bool:
        return max(self.steady_s, self.control_s) <= RETURN_LIMIT_S and self.lost_photos == 0


class Scenario:
    """``url`` and ``key``: of a shop; ``folder``: for its photos, removed by the caller."""

    def __init__(self, cluster: Cluster, url: str, key: str, folder: Path, photos: int) -> None:
        self._cluster, self._url, self._key = cluster, url, key
        self._folder, self._photos = folder, photos
        self._expected: set[str] = set()

    def round(self, number: int, num_cpus: int) -> list[Kill]:
        """Raises DependencyUnavailable where an import does not end."""

        def replace_worker() -> None:
            self._cluster.start_worker("worker1", num_cpus)

        return [
            self._kill("worker node", "worker1", lambda: None, f"{number}a", afterwards=replace_worker),
            self._kill("head node", "head", self._cluster.start_head, f"{number}b"),
        ]

    def _kill(
        self,
        what: str,
        name: str,
        bring_back: Callable[[], None],
        label: str,
        afterwards: Callable[[], None] = lambda: None,
    ) -> Kill:
        shoppers = Shoppers(self._url, self._key)
        shoppers.start()
        try:
            begun = time.monotonic()
            with over_http(self._url, self._key, None) as target:
                job = target.send(feed_source(self._photos_of(label)), ImportOptions(), lambda _: None)
            self._wait_for_first_photos(label)
            killed = time.monotonic()
            processes = self._cluster.kill(name)
            bring_back()
            control_s = self._in_control(killed)
            job_s = self._wait_for_job(job.id, begun)
            steady_s = self._steady(shoppers, killed)
            now = time.monotonic()
            away_s = shoppers.longest_gap_since(killed, now)
            failed = shoppers.failures_since(killed)
        finally:
            shoppers.stop()
        kinds = Counter(kind for when, kind in shoppers.failed if when >= killed)
        out.print(f"  {label}: failed requests {dict(kinds)}", markup=False)
        afterwards()
        return Kill(what, processes, away_s, steady_s, control_s, failed, job_s, self._lost())

    def _photos_of(self, label: str) -> Path:
        """A directory of new photos."""
        directory = self._folder / label
        directory.mkdir(parents=True)
        seed = sum(label.encode())
        for number in range(self._photos):
            (directory / f"{label}-{number}.jpg").write_bytes(jpeg([seed, number], PHOTO_SIZE_PX))
            self._expected.add(f"{label}-{number}")
        return directory

    def _wait_for_first_photos(self, label: str) -> None:
        """So that the kill meets work under way."""
        deadline = time.monotonic() + JOB_LIMIT_S
        while time.monotonic() < deadline:
            done = [photo for photo in self._all() if str(photo["sku"]).startswith(f"{label}-")]
            if any(photo["status"] == "embedded" for photo in done):
                return
            time.sleep(POLL_S)
        raise DependencyUnavailable(f"No photo of the import was indexed within {JOB_LIMIT_S:g} s.")

    def _steady(self, shoppers: Shoppers, killed: float) -> float:
        """Seconds from the kill until so many answers came in a row without a failure between."""
        while True:
            last_failure = max((when for when, _ in shoppers.failed), default=killed)
            since = [when for when in shoppers.answered if when > max(last_failure, killed)]
            if len(since) >= STEADY_ANSWERS:
                return max(last_failure, killed) - killed
            if time.monotonic() - killed > 2 * RETURN_LIMIT_S:
                return float("inf")
            time.sleep(POLL_S)

    def _in_control(self, killed: float) -> float:
        """Infinite after twice the limit."""
        while not self._cluster.in_control():
            if time.monotonic() - killed > 2 * RETURN_LIMIT_S:
                return float("inf")
            time.sleep(POLL_S)
        return time.monotonic() - killed

    def _wait_for_job(self, job_id: int, begun: float) -> float:
        deadline = time.monotonic() + JOB_LIMIT_S
        with over_http(self._url, self._key, None) as target:
            while time.monotonic() < deadline:
                job = target.read(job_id)
                if job.status == "succeeded":
                    if job.counts.failed:
                        raise DependencyUnavailable(f"{job.counts.failed} rows of the import failed.")
                    return time.monotonic() - begun
                if job.status not in ("queued", "running"):
                    raise DependencyUnavailable(f"The import {job.status}: {job.error}")
                time.sleep(POLL_S)
        raise DependencyUnavailable(f"The import did not end within {JOB_LIMIT_S:g} s.")

    def _lost(self) -> int:
        """Photos of all imports so far that are not there, there twice, or not to be found by themselves."""
        photos = self._all()
        skus = Counter(str(photo["sku"]) for photo in photos if photo["status"] == "embedded")
        lost = {sku for sku in self._expected if skus[sku] != 1} | (set(skus) - self._expected)
        return len(lost)

    def _all(self) -> list[dict[str, Any]]:
        """The shop's photos; tried again while nobody answers."""
        deadline = time.monotonic() + RETURN_LIMIT_S
        headers = {"Authorization": f"Bearer {self._key}"}
        while True:
            try:
                with httpx.Client(base_url=self._url, headers=headers, timeout=15.0) as client:
                    return list(all_photos(client))
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise DependencyUnavailable(f"The service does not answer: {error}") from None
                time.sleep(POLL_S)
