"""What is tuned, where it stands in a config, and which values the machine lets one try."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.serving import AppArgs, EmbedderUserConfig, SearchUserConfig
from scripts.tuning.config_text import Place, value_at
from scripts.tuning.descent import Knob, Setting, Value
from scripts.tuning.hardware import Hardware

APPLICATION: Place = ("applications", 0)
ARGS: Place = (*APPLICATION, "args")
DEPLOYMENTS: Place = (*APPLICATION, "deployments")
INGRESS_REPLICAS, TEXT_REPLICAS = "Ingress replicas", "TextEmbedder replicas"
REPLICAS = INGRESS_REPLICAS, TEXT_REPLICAS, "SearchIndex replicas"
ASKED = 18  # photos that an answer with ten asks the index for
THREADS = "text_embedder.threads"
TEXT_CALLS, SEARCH_CALLS, PER_CALL = "calls.text_calls", "calls.search_calls", "calls.per_call"
TEXT_BATCH, TEXT_WAIT = "TextEmbedder max_batch_size", "TextEmbedder batch_wait_timeout_s"
SEARCH_BATCH, SEARCH_WAIT = "SearchIndex max_batch_size", "SearchIndex batch_wait_timeout_s"
LIVE = frozenset({*REPLICAS, TEXT_BATCH, TEXT_WAIT, SEARCH_BATCH, SEARCH_WAIT})  # without a restart
USER_CONFIGS: Mapping[str, type[EmbedderUserConfig] | type[SearchUserConfig]] = {
    "TextEmbedder": EmbedderUserConfig,
    "SearchIndex": SearchUserConfig,
}
BATCHES = 8, 16, 32, 64
WAITS_S = 0.0, 0.002, 0.005
WAIT_SHARE = 0.05  # of the limit: the longest wait for company that is tried
GIB_PER_REPLICA = 1.5
BUSY = 0.75  # of the cores' time: more replicas would only take it from each other
LEAST_CPUS = 2  # that the launcher lets Ray count
TASKS = 2  # of background work, which must find room beside the replicas


@dataclass(frozen=True)
class Found:
    """What the machine and its bare encoder allow: threads and batches of the text tower worth a try.

    ``names``: of the knobs that are wanted.
    """

    hardware: Hardware
    threads: Sequence[int]
    batches: Sequence[int]
    slo_ms: float
    names: Collection[str]


def setting_of(document: Any, args: AppArgs) -> dict[str, Value]:
    """A value by knob. Parts that the config's ``deployments`` does not list have no knobs, nor has the
    SearchIndex where plain prompts pass it by."""
    setting: dict[str, Value] = {}
    passed_by = {"SearchIndex"} if args.calls.direct_hits >= ASKED else set()
    for knob in REPLICAS:
        if knob.split()[0] not in passed_by and (own := _deployment(document, knob)) is not None:
            setting[knob] = least_replicas(own)
    for name, schema in USER_CONFIGS.items():
        if name not in passed_by and (own := _deployment(document, name)) is not None:
            values = schema.model_validate(own.get("user_config") or {})
            setting[f"{name} max_batch_size"] = values.max_batch_size
            setting[f"{name} batch_wait_timeout_s"] = values.batch_wait_timeout_s
    share = value_at(document, (*DEPLOYMENTS, "TextEmbedder", "ray_actor_options", "num_cpus"), 1)
    setting[THREADS] = args.text_embedder.threads or max(1, int(share))
    calls = args.calls
    return setting | {
        TEXT_CALLS: calls.text_calls,
        SEARCH_CALLS: calls.search_calls,
        PER_CALL: calls.per_call,
    }


def knobs_of(setting: Setting, found: Found, busy: float) -> list[Knob]:
    """Those that the setting has and that are wanted, in the order to try them.

    What needs no restart comes first; but more replicas last, where the cores are ``busy`` (a share of their
    time) without them.
    """
    replicas = powers_of_two(min(found.hardware.cores, int(found.hardware.memory_gib / GIB_PER_REPLICA)))
    waits = tuple(one for one in WAITS_S if one <= found.slo_ms / 1000 * WAIT_SHARE)
    more = [Knob(name, replicas) for name in REPLICAS]
    knobs = [
        Knob(TEXT_BATCH, tuple(found.batches)),
        Knob(TEXT_WAIT, waits),
        Knob(SEARCH_BATCH, BATCHES),
        Knob(SEARCH_WAIT, waits),
        Knob(THREADS, tuple(found.threads)),
        Knob(TEXT_CALLS, (1, 2, 4, 8, 16)),
        Knob(SEARCH_CALLS, (1, 2, 4, 8)),
        Knob(PER_CALL, (8, 16, 32, 64)),
    ]
    ordered = [*knobs, *more] if busy > BUSY else [*more, *knobs]
    return [knob for knob in ordered if knob.name in setting and knob.name in found.names]


def has_room(setting: Setting, document: Any, machine: Hardware) -> bool:
    """Whether the replicas' shares fit into the machine, and the text tower's threads into its cores."""
    if setting.get(TEXT_REPLICAS, 1) * setting[THREADS] > machine.cores:
        return False
    tasks = TASKS * float(value_at(document, (*ARGS, "indexer", "task_num_cpus"), 0.25))
    cpus = tasks + _shares(setting, document, "num_cpus", 1)
    gpus = _shares(setting, document, "num_gpus", 0)
    return cpus <= max(machine.cores, LEAST_CPUS) + 1e-9 and gpus <= machine.gpus + 1e-9


def _shares(setting: Setting, document: Any, kind: str, default: float) -> float:
    """Of all replicas together."""
    return sum(
        setting.get(f"{own['name']} replicas", least_replicas(own))
        * float(value_at(own, ("ray_actor_options", kind), default))
        for own in value_at(document, DEPLOYMENTS, [])
    )


def values_of(setting: Setting, former: Setting, document: Any) -> dict[Place, Any]:
    """What to write where: only what differs from the ``former`` setting, which is the document's."""
    changes: dict[Place, Any] = {}
    for knob, value in setting.items():
        if value != former[knob]:
            for place in places_of(knob, document):
                largest = place[-1] == "max_replicas"
                changes[place] = max(value, value_at(document, place, 1)) if largest else value
    return changes


def places_of(knob: str, document: Any) -> list[Place]:
    """The keys that a knob writes, the one that stands for it first."""
    if "." in knob.split()[0]:
        return [(*ARGS, *knob.split("."))]
    name, key = knob.split()
    own: Place = (*DEPLOYMENTS, name)
    if key != "replicas":
        return [(*own, "user_config", key)]
    if value_at(document, (*own, "autoscaling_config")) is None:
        return [(*own, "num_replicas")]
    return [(*own, "autoscaling_config", key) for key in ("min_replicas", "max_replicas")]


def least_replicas(deployment: Mapping[str, Any]) -> int:
    """How many a deployment starts with and never falls below."""
    scaling = deployment.get("autoscaling_config") or {}
    count = scaling.get("min_replicas", deployment.get("num_replicas"))
    return count if isinstance(count, int) and count > 0 else 1


def powers_of_two(most: int) -> tuple[int, ...]:
    """From 1 on."""
    return tuple(2**power for power in range(max(most, 1).bit_length()))


def _deployment(document: Any, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = value_at(document, (*DEPLOYMENTS, name.split()[0]))
    return found
