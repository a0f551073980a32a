"""``scripts.check_config``: each mistake with its line, each trap with a case, the project's files clean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import check_config
from scripts.check_config import inspect
from scripts.config_check import calls, replicas, room
from scripts.config_check.checked import Cluster, Finding
from scripts.config_check.lines import Lines
from serve_app.config_mistakes import Mistake

FOLDER = Path(__file__).resolve().parents[2] / "configs"
CONFIGS = {path.name: path for path in FOLDER.glob("*.yaml")}
TEXT = CONFIGS["local.yaml"].read_text("utf-8")
TWO, ROOMY = Cluster(2, 0), Cluster(64, 4)
# What docs/configuration.md says that each starts on, and what all its replicas find room on.
MEANT_FOR = {
    "local.yaml": [TWO],
    "cpu.yaml": [Cluster(32, 0), Cluster(16, 0, nodes=2)],
    "gpu.yaml": [Cluster(16, 1)],
    "cluster.yaml": [Cluster(2, 0, nodes=3), Cluster(3, 0, nodes=2)],
}
STARTS_ON = {"local.yaml": TWO, "cpu.yaml": Cluster(8, 0), "gpu.yaml": Cluster(6, 0.4), "cluster.yaml": TWO}
EXPLAINED = {
    # Two cores: only shoppers' photos may want a second replica. Its comment says so.
    "local.yaml": {"backlog-never-grows"},
    # For several machines 2 are right; the comment at min_replicas says so.
    "cpu.yaml": {"single-replica"},
}
Change = Callable[[dict[str, Any]], object]


def application(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["applications"][0]
    return found


def args(document: dict[str, Any], part: str) -> dict[str, Any]:
    found: dict[str, Any] = application(document)["args"].setdefault(part, {})
    return found


def part(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in application(document)["deployments"] if one["name"] == name)


def scaled(document: dict[str, Any], name: str, **values: float) -> None:
    own = part(document, name)
    own.pop("num_replicas", None)
    own.setdefault("autoscaling_config", {}).update(values)


def findings(tmp_path: Path, change: Change, cluster: Cluster) -> list[Finding]:
    document = yaml.safe_load(TEXT)
    change(document)
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(document), "utf-8")
    errors, warnings = inspect(tmp_path / "changed.yaml", cluster)
    assert errors == []
    return [one for one in warnings if one.code not in EXPLAINED["local.yaml"]]


def errors_of(tmp_path: Path, text: str) -> list[Mistake]:
    (tmp_path / "changed.yaml").write_text(text, "utf-8")
    return inspect(tmp_path / "changed.yaml", TWO)[0]


def line_of(words: str) -> int:
    return 1 + TEXT[: TEXT.index(words)].count("\n")


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_the_projects_files_are_clean_on_what_they_are_meant_for(name: str) -> None:
    for cluster in MEANT_FOR[name]:
        errors, warnings = inspect(CONFIGS[name], cluster)
        assert errors == []
        assert [one for one in warnings if one.code not in EXPLAINED.get(name, set())] == [], cluster


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_the_projects_files_start_on_what_the_guide_says(name: str) -> None:
    codes = {one.code for one in inspect(CONFIGS[name], STARTS_ON[name])[1]}
    assert not codes & {"no-room", "never-fits", "no-room-after-loss"}
    less = Cluster(STARTS_ON[name].cpus / 2, STARTS_ON[name].gpus)
    if name in {"cpu.yaml", "gpu.yaml"}:
        assert "no-room" in {one.code for one in inspect(CONFIGS[name], less)[1]}


def test_a_node_of_a_cluster_may_be_lost() -> None:
    codes = {one.code for one in inspect(CONFIGS["cluster.yaml"], Cluster(1, 0, nodes=2))[1]}
    assert "no-room-after-loss" in codes


TRAPS: list[tuple[str, Change, Cluster, str]] = [
    (
        "batch-never-full",
        lambda d: part(d, "TextEmbedder").update(max_ongoing_requests=16),
        TWO,
        "16 can never fill a batch of max_batch_size 32. Raise it to 32",
    ),
    ("batch-never-full", lambda d: part(d, "SearchIndex").update(max_ongoing_requests=31), TWO, "31 can"),
    (
        "batch-never-full",
        lambda d: part(d, "ImageEmbedder").update(user_config={"max_batch_size": 129}),
        TWO,
        "16 calls of 8 photos",
    ),
    ("endless-queue", lambda d: part(d, "TextEmbedder").update(max_queued_requests=-1), TWO, "such as 512"),
    ("endless-queue", lambda d: part(d, "Ingress").update(max_queued_requests=-1), TWO, "such as 512"),
    ("cold-start", lambda d: scaled(d, "ImageEmbedder", min_replicas=0), TWO, "0 replicas while nobody asks"),
    ("cold-start", lambda d: scaled(d, "Indexer", min_replicas=0), TWO, "it would never start"),
    ("several-indexers", lambda d: part(d, "Indexer").update(num_replicas=2), TWO, "2 Indexers"),
    (
        "target-beyond-replica",
        lambda d: scaled(d, "Ingress", min_replicas=1, max_replicas=2, target_ongoing_requests=300),
        TWO,
        "300 is more than a replica takes at once (max_ongoing_requests 256)",
    ),
    (
        "never-grows",
        lambda d: scaled(d, "TextEmbedder", max_replicas=2, target_ongoing_requests=4),
        TWO,
        "never more than 1 of max_replicas 2 start",
    ),
    (
        "never-grows",
        lambda d: scaled(d, "SearchIndex", min_replicas=1, max_replicas=9, target_ongoing_requests=1),
        TWO,
        "(calls.search_calls: 2)",
    ),
    (
        "shutdown-time",
        lambda d: part(d, "Ingress").update(graceful_shutdown_timeout_s=0),
        TWO,
        "0 s: requests under way are cut off",
    ),
    (
        "shutdown-time",
        lambda d: part(d, "Indexer").update(graceful_shutdown_timeout_s=3600),
        TWO,
        "3600 s: a redeploy, or a stop, may wait as long",
    ),
    ("flapping", lambda d: scaled(d, "ImageEmbedder", downscale_delay_s=5), TWO, "5 s: replicas"),
    (
        "whole-cpu",
        lambda d: part(d, "Indexer").update(ray_actor_options={}),
        ROOMY,
        "each replica reserves a whole CPU",
    ),
    (
        "never-fits",
        lambda d: part(d, "TextEmbedder").update(ray_actor_options={"num_cpus": 4}),
        Cluster(3, 0, nodes=9),
        "a replica wants 4 CPUs and a node has 3",
    ),
    ("no-room", lambda d: part(d, "Ingress").update(num_replicas=9), TWO, "what starts wants 2.4 CPUs (9 In"),
    ("no-room", lambda d: part(d, "Indexer").update(ray_actor_options={}), Cluster(1, 0), "some never start"),
    (
        "no-room-to-grow",
        lambda d: scaled(d, "Ingress", min_replicas=1, max_replicas=20),
        TWO,
        "all replicas at their most want 4.7 CPUs, and there are 2",
    ),
    (
        "too-few-nodes",
        lambda d: part(d, "Ingress").update(num_replicas=3, max_replicas_per_node=1),
        TWO,
        "1 a node on 1 node(s) is less than the 3 replicas",
    ),
    ("single-replica", lambda _: None, Cluster(2, 0, nodes=2), "one replica on 2 nodes"),
    (
        "database-connections",
        lambda d: application(d)["args"].update(database_connections=90),
        TWO,
        "90 of them the Ingress",
    ),
    (
        "idle-replicas",
        lambda d: args(d, "calls").update(text_calls=1),
        TWO,
        "1 calls at a time of each of 1 Ingress replicas do not keep 1 replicas of TextEmbedder busy. Set 2",
    ),
    (
        "message-limit",
        lambda d: args(d, "calls").update(per_call=3000),
        TWO,
        "3000 vectors of 2,048 bytes are 6.1 MB",
    ),
    ("request-limit", lambda d: d["http_options"].pop("request_timeout_s"), TWO, "may hang for ever"),
    (
        "request-limit",
        lambda d: d["http_options"].update(request_timeout_s=60),
        TWO,
        "60 s end an upload with ?wait=60",
    ),
    (
        "request-limit",
        lambda d: args(d, "timeouts").update(embed_s=50, search_s=50),
        TWO,
        "90 s are over before timeouts.embed_s and timeouts.search_s are, 100 s together",
    ),
    ("short-lease", lambda d: args(d, "indexer").update(lease_s=10), TWO, "10 s are no longer than one call"),
    ("front-door", lambda d: d.update(proxy_location="Disabled"), TWO, "no HTTP at all"),
    ("front-door", lambda _: None, Cluster(2, 0, nodes=2), "HeadOnly on 2 nodes"),
    (
        "front-door",
        lambda d: d.update(proxy_location="EveryNode"),
        Cluster(2, 0, nodes=2),
        "127.0.0.1: Ingress replicas listen there, too",
    ),
    (
        "gpu-share",
        lambda d: args(d, "text_embedder").update(device="cuda:0"),
        ROOMY,
        "args.text_embedder.device is cuda:0 and a replica reserves no GPU",
    ),
    (
        "gpu-share",
        lambda d: (
            args(d, "image_embedder").update(device="cpu"),
            part(d, "ImageEmbedder")["ray_actor_options"].update(num_gpus=0.5),
        ),
        ROOMY,
        "0.5 GPUs are reserved",
    ),
    ("too-many-threads", lambda d: args(d, "text_embedder").update(threads=8), TWO, "8 threads on 2 CPUs"),
]


@pytest.mark.parametrize(("code", "change", "cluster", "words"), TRAPS, ids=[trap[0] for trap in TRAPS])
def test_a_trap_is_warned_of(tmp_path: Path, code: str, change: Change, cluster: Cluster, words: str) -> None:
    messages = [one.message for one in findings(tmp_path, change, cluster) if one.code == code]
    assert any(words in message for message in messages), messages
    assert all(message.endswith(".") for message in messages)


def test_every_kind_of_warning_has_a_case() -> None:
    folder = Path(check_config.__file__).parent / "config_check"
    codes = {
        line.strip().removeprefix("yield Finding(").strip().split('"')[1]
        for module in (calls, replicas, room)
        for line in _first_arguments((folder / f"{module.__name__.split('.')[-1]}.py").read_text("utf-8"))
    }
    assert codes == {code for code, *_ in TRAPS} | {"backlog-never-grows", "no-room-after-loss"}


def _first_arguments(text: str) -> list[str]:
    """The line of each ``Finding(`` that holds its code."""
    lines = text.splitlines()
    at = [number for number, line in enumerate(lines) if "yield Finding(" in line]
    return [lines[number] if '"' in lines[number] else lines[number + 1] for number in at]


@pytest.mark.parametrize(
    ("former", "replaced", "words"),
    [
        ("  port: 8000", "  prot: 8000", "http_options.prot: unknown key 'prot': did you mean 'port'?"),
        ("  port: 8000", "  port: eight", "it is 'eight'"),
        ("request_timeout_s: 90", "request_timeout_s: soon", "http_options.request_timeout_s: "),
        ("        claim_size: 32", "        claim_sise: 32", "did you mean 'claim_size'?"),
        ("        embed_batch: 8 ", "        embed_batch: 25 ", "use 24 or less"),
        ("      - name: TextEmbedder", "      - name: TextEmbeder", "there is no deployment 'TextEmbeder'"),
        ("      - name: TextEmbedder", "      - name: Ingress", "Ingress stands here a second time"),
        ("          upscale_delay_s: 10", "          upscale_delay: 10", "did you mean 'upscale_delay_s'?"),
        ("          upscale_delay_s: 10", "          upscale_delay_s: -1", "it is -1"),
        (
            "user_config: {max_batch_size: 8,",
            "user_config: {max_batch_size: 0,",
            "user_config.max_batch_size",
        ),
        ("ray_actor_options: {num_cpus: 0.2}", "ray_actor_options: {num_cpu: 0.2}", "'num_cpus'?"),
        ("proxy_location: HeadOnly", "proxy_location: Everywhere", "proxy_location: "),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, former: str, replaced: str, words: str) -> None:
    text = TEXT.replace(former, replaced, 1)
    found = next(one for one in errors_of(tmp_path, text) if words in str(one))
    assert Lines(text).of(found.place) == line_of(former)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = TEXT.replace("  port: 8000", "  prot: 8000").replace("lease_s: 30", "lease_s: -3")
    text = text.replace("max_ongoing_requests: 16", "max_ongoing_requests: many")
    errors = errors_of(tmp_path, text)
    assert [".".join(map(str, one.place[-2:])) for one in errors] == [
        "http_options.prot",
        "indexer.lease_s",
        "2.max_ongoing_requests",
    ]


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    errors = errors_of(tmp_path, TEXT.replace("  port: 8000", "  port: 8000\n  port: 9000"))
    assert [str(one) for one in errors] == [
        "http_options.port: stands in line 7 already, and only the last counts. Remove one."
    ]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["check_config", *map(str, arguments)])
    return check_config.main()


def test_exit_statuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local, room_for_it = CONFIGS["local.yaml"], ("--cpus", "2", "--gpus", "0")
    assert run(monkeypatch, local, *room_for_it) == 0
    assert run(monkeypatch, local, *room_for_it, "--strict") == 1
    assert run(monkeypatch, local, *room_for_it, "--strict", "--accept", "backlog-never-grows") == 0
    assert run(monkeypatch, tmp_path / "nowhere.yaml", local, *room_for_it) == 2
    capsys.readouterr()
    (tmp_path / "wrong.yaml").write_text(TEXT.replace("claim_size: 32", "claim_size: 0"), "utf-8")
    assert run(monkeypatch, tmp_path / "wrong.yaml", *room_for_it) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / 'wrong.yaml'}:{line_of('claim_size')}: ")
    assert "error: args.indexer.claim_size: Input should be greater than 0; it is 0." in line
