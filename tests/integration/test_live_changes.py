"""Another config for the running service, while shoppers ask: no process restarts, no request fails."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from tests.drawings import garment
from tests.shop_client import RECOMMENDATIONS, ShopClient
from tests.stack import PROJECT, Stack, environment

CLIENTS = 3
PAUSE_S = 0.02
WAIT_S = 0.8  # that a batch of prompts waits for company, in the changed config; one may join it late
PATIENCE_S = 20.0
PARTS = "Ingress", "TextEmbedder", "ImageEmbedder", "SearchIndex", "Indexer"


class Shoppers:
    """Clients that ask new prompts all the time, for the length of a block."""

    def __init__(self, shop: ShopClient) -> None:
        self._shop, self._numbers, self._stop = shop, count(), threading.Event()
        self.faults: list[str] = []
        self.answered = 0

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.ask()
                self.answered += 1
            except (httpx.HTTPError, AssertionError) as error:
                self.faults.append(f"{type(error).__name__}: {error}")
            time.sleep(PAUSE_S)

    def ask(self) -> float:
        """Seconds that a new prompt took: one that came before would be remembered."""
        body = {"prompt": f"a red dress {next(self._numbers)} {id(self)}", "number_of_images": 1}
        started = time.monotonic()
        answer = self._shop.request("POST", RECOMMENDATIONS, json=body)
        assert answer.status_code == 200, answer.text
        return time.monotonic() - started


@dataclass
class Config:
    """That of the service, with replicas held at their least number: none comes or goes by itself."""

    stack: Stack
    file: Path

    def __post_init__(self) -> None:
        document = yaml.safe_load(self.former.read_text("utf-8"))
        for own in document["applications"][0]["deployments"]:
            least = own.pop("autoscaling_config", {}).get("min_replicas", 1)
            own.setdefault("num_replicas", least)
        self._held = yaml.safe_dump(document)

    @property
    def former(self) -> Path:
        return self.stack.data_dir.parent / "quick.yaml"

    def hold(self, change: Callable[[dict[str, dict[str, Any]]], object] = lambda _: None) -> dict[str, int]:
        """Apply it with a change of its deployments; returns how many replicas each has then."""
        document = yaml.safe_load(self._held)
        change({one["name"]: one for one in document["applications"][0]["deployments"]})
        self.file.write_text(yaml.safe_dump(document), "utf-8")
        return self.apply(self.file)

    def apply(self, file: Path) -> dict[str, int]:
        words = [str(file), "--data-dir", str(self.stack.data_dir)]
        command = [sys.executable, "-m", "scripts.apply_config", *words]
        variables = environment(PYTHONPATH=str(PROJECT))
        # Not in the project's directory, where a developer's .env may name other servers.
        done = subprocess.run(command, cwd=file.parent, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return {name: int(number) for name, number in (line.split("\t") for line in done.stdout.splitlines())}

    def replicas(self) -> dict[str, set[int]]:
        """Their process ids."""
        return {
            part: {process.pid for process in self.stack.processes(f"ServeReplica:fashion:{part}")}
            for part in PARTS
        }


@pytest.fixture
def config(stack: Stack, tmp_path: Path) -> Iterator[Config]:
    one = Config(stack, tmp_path / "changed.yaml")
    held = one.hold()
    yield one
    if counts(one.replicas()) != held:
        one.hold()
    one.apply(one.former)


def counts(replicas: dict[str, set[int]]) -> dict[str, int]:
    return {part: len(pids) for part, pids in replicas.items()}


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def more(deployments: dict[str, dict[str, Any]]) -> None:
    deployments["TextEmbedder"]["user_config"]["batch_wait_timeout_s"] = WAIT_S
    for part in ("Ingress", "SearchIndex"):
        deployments[part]["num_replicas"] += 1


def test_a_change_applies_while_shoppers_ask(shop: ShopClient, config: Config) -> None:
    shop.add(garment(), wait_s=30)
    before = config.replicas()
    with Shoppers(shop) as shoppers:
        assert min(shoppers.ask() for _ in range(3)) < WAIT_S / 2
        assert config.hold(more) == (
            held := counts(before) | {part: len(before[part]) + 1 for part in ("Ingress", "SearchIndex")}
        )
        during = config.replicas()
        assert counts(during) == held
        assert all(before[part] <= during[part] for part in PARTS), "a process was restarted"
        assert max(shoppers.ask() for _ in range(3)) > WAIT_S / 2, "user_config did not arrive"
        asked = shoppers.answered
        config.hold()
        wait_for(lambda: counts(config.replicas()) == counts(before))
        wait_for(lambda: shoppers.answered > asked + CLIENTS)
        assert min(shoppers.ask() for _ in range(3)) < WAIT_S / 2
    assert shoppers.faults == []
    assert config.replicas()["TextEmbedder"] == before["TextEmbedder"]
