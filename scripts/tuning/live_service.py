"""A running service that takes other settings, and is asked at fixed rates."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import yaml

from configs.serving import AppArgs
from models.errors import ConfigurationError
from scripts.benchmark.http_load import Target, closed_loop, open_loop
from scripts.benchmark.prompts import distinct_prompts
from scripts.benchmark.workbench import Workbench
from scripts.tuning.config_text import with_values
from scripts.tuning.descent import Setting
from scripts.tuning.highest_rate import Probe
from scripts.tuning.knobs import LIVE, REPLICAS, values_of
from scripts.tuning.redeploy import Redeploy

UNLIMITED = "key_requests_per_minute", "shop_requests_per_minute", "prompts_per_day"
LATER_S = 36_000  # than any run: an audit would take its share of one rate and not of the next
WARM_UP_S, WARM_UP_CLIENTS, WARM_UPS = 1.5, 8, 5
CHANGES_S = {"live": 4.0, "replicas": 15.0, "restart": 30.0}  # until one of the kind was measured
LEAST_REQUESTS = 150  # of a probe; fewer say nothing of the slowest in a hundred
RAMP_S = 0.5  # of a probe, which are not counted: its queues are empty then
NEAR = 1.25  # a p99 within this factor of the limit is looked at twice
REST_S = 0.3
LAST_PROBES = 5  # by which the next one's time is told
RESTART_WARM_UPS = 3


@dataclass
class LiveService:
    """``text``: the config that is tuned, whose own setting is ``start``; ``seconds``: of a probe."""

    bench: Workbench
    redeploy: Redeploy
    target: Target
    text: str
    start: Setting
    slo_ms: float
    seconds: float

    def __post_init__(self) -> None:
        self._prompts: Iterator[str] = distinct_prompts(time.time_ns())
        self._seed, self._took_s = 0, list[float]()
        self._applied: dict[str, Any] = {}
        self._change_s = dict(CHANGES_S)
        self.setting = self.start

    def apply(self, setting: Setting) -> None:
        """Raises ConfigurationError where the service does not start so."""
        schema = self._schema(setting)
        if schema == self._applied:
            return
        path = self.bench.data.path.parent / "setting.json"
        path.write_text(json.dumps(schema), "utf-8")
        started = time.monotonic()
        self._applied = {}
        self.redeploy.deploy(path)
        fresh = kind_of_change(self.setting, setting) == "restart"
        for _ in range(RESTART_WARM_UPS if fresh else 1):
            self.warm_up()
        took_s = time.monotonic() - started
        self._change_s[kind_of_change(self.setting, setting)] = took_s
        self._applied, self.setting = schema, setting

    def change_s(self, former: Setting, setting: Setting) -> float:
        """What a change takes, about."""
        if former == setting:
            return 0.0
        return self._change_s[kind_of_change(former, setting)]

    def warm_up(self) -> float:
        """Requests a second of a few clients. Right after a change some may fail: it tries again.

        Raises ConfigurationError where they go on failing.
        """
        reason: Exception | None = None
        for _ in range(WARM_UPS):
            try:
                return closed_loop(self.target, self._prompts, WARM_UP_CLIENTS, WARM_UP_S).rate
            except (AssertionError, aiohttp.ClientError, TimeoutError) as error:
                reason = error
            time.sleep(1.0)
        raise ConfigurationError(f"it does not answer: {reason}")

    def probe(self, rate: float) -> Probe:
        """Near the limit, twice as many requests decide."""
        started = time.monotonic()
        times_s = self._times_s(rate)
        probe = _probe(rate, times_s)
        if self.slo_ms / NEAR < probe.p99_ms < self.slo_ms * NEAR:
            probe = _probe(rate, times_s + self._times_s(rate))
        self._took_s.append(time.monotonic() - started)
        return probe

    def probe_s(self) -> float:
        """What a probe takes, about."""
        return statistics.mean(self._took_s[-LAST_PROBES:] or [self.seconds])

    def _times_s(self, rate: float) -> list[float]:
        time.sleep(REST_S)
        self._seed += 1
        seconds = max(self.seconds, LEAST_REQUESTS / rate) + RAMP_S
        failed = False
        try:
            load = open_loop(self.target, self._prompts, rate, seconds, self._seed)
        except* (AssertionError, aiohttp.ClientError, TimeoutError):
            failed = True
        if failed:
            self.warm_up()  # until what was refused is forgotten
            return [math.inf]
        due = [ended - took for ended, took in zip(load.ended_s, load.times_s, strict=True)]
        counts = min(due) + RAMP_S
        return [took for took, moment in zip(load.times_s, due, strict=True) if moment >= counts]

    def _schema(self, setting: Setting) -> dict[str, Any]:
        from serve_app.local_config import load_config

        document = yaml.safe_load(self.text)
        path = self.bench.data.path.parent / "setting.yaml"
        path.write_text(measured(with_values(self.text, values_of(setting, self.start, document))), "utf-8")
        config = load_config(path)
        model = config.args.model.model_copy(
            update={"name": str(self.bench.checkpoint), "revision": None, "fallback": None}
        )
        address = urlsplit(self.bench.running.url)
        args: AppArgs = config.args.model_copy(update={"model": model})
        schema = config.deployable(args, str(address.hostname), int(address.port or 0))
        found: dict[str, Any] = schema.model_dump(mode="json", exclude_unset=True)
        return found


def kind_of_change(former: Setting, setting: Setting) -> str:
    """``restart``: Serve replaces all processes, as for any change of ``args``; ``replicas``: adds some."""
    changed = {name for name, value in setting.items() if former.get(name) != value}
    if changed - LIVE:
        return "restart"
    return "replicas" if changed & set(REPLICAS) else "live"


def measured(text: str) -> str:
    """A config as it is measured: replicas held at their least number, without limits of a key or a shop,
    and without audits."""
    document = yaml.safe_load(text)
    application = document["applications"][0]
    args = application.get("args") or {}
    application["args"] = args
    later: Mapping[str, Mapping[str, Any]] = {
        "limits": dict.fromkeys(UNLIMITED),
        "audit": {"poll_interval_s": LATER_S},
    }
    for part, values in later.items():
        args[part] = {**(args.get(part) or {}), **values}
    for own in application.get("deployments") or []:
        scaling = own.pop("autoscaling_config", None)
        if isinstance(scaling, dict):
            own["num_replicas"] = scaling.get("min_replicas") or 1
    dumped: str = yaml.safe_dump(document)
    return dumped


def write_measured(config: Path, target: Path) -> Path:
    """``target``: ``config`` as it is measured."""
    target.write_text(measured(config.read_text("utf-8")), "utf-8")
    return target


def _probe(rate: float, times_s: list[float]) -> Probe:
    if math.inf in times_s:
        return Probe(rate, math.inf, math.inf, len(times_s))
    p50, p99 = 1000 * np.quantile(times_s, (0.5, 0.99))
    return Probe(rate, float(p50), float(p99), len(times_s))
