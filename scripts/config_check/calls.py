"""Traps of calls, time limits, the front door and devices."""

from __future__ import annotations

from collections.abc import Iterator

from ray.serve.config import ProxyLocation

from scripts.config_check.checked import ARGS, Check, Checked, Finding
from serve_app.routes.image_collection import LONGEST_WAIT_S

MESSAGE_BYTES = 4 * 10**6
VECTOR_BYTES = 2048  # of FashionCLIP: 512 float32
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
TOWERS = {"TextEmbedder": "text_embedder", "ImageEmbedder": "image_embedder"}


def shared_calls(config: Checked) -> Iterator[Finding]:
    calls, ingress = config.args.calls, config.parts["Ingress"].most
    for key, name in (("text_calls", "TextEmbedder"), ("search_calls", "SearchIndex")):
        each, replicas = int(getattr(calls, key)), config.parts[name].most
        if each * ingress < 2 * replicas:
            yield Finding(
                "idle-replicas",
                (*ARGS, "calls", key),
                f"{each} calls at a time of each of {ingress} Ingress replicas do not keep {replicas} "
                f"replicas of {name} busy. Set {-(-2 * replicas // ingress)} or more: twice the replicas in "
                "all.",
            )


def messages(config: Checked) -> Iterator[Finding]:
    """``indexer.embed_batch`` has its limit in configs/serving.py: photos may go by value."""
    size = config.args.calls.per_call * VECTOR_BYTES
    if size > MESSAGE_BYTES:
        yield Finding(
            "message-limit",
            (*ARGS, "calls", "per_call"),
            f"{config.args.calls.per_call} vectors of 2,048 bytes are {size / 1e6:.1f} MB, and a call "
            f"between deployments carries 4 MB. Set {MESSAGE_BYTES // VECTOR_BYTES} or less; 32 is usual.",
        )


def time_limits(config: Checked) -> Iterator[Finding]:
    limit, steps = config.schema.http_options.request_timeout_s, config.args.timeouts
    place, both = ("http_options", "request_timeout_s"), steps.embed_s + steps.search_s
    if limit is None:
        yield Finding("request-limit", place, "is not set: a request may hang for ever. Set 90.")
    elif limit <= LONGEST_WAIT_S:
        yield Finding(
            "request-limit",
            place,
            f"{limit:g} s end an upload with ?wait={LONGEST_WAIT_S}, the longest, before its answer. Set "
            f"more than {LONGEST_WAIT_S}, such as 90.",
        )
    elif limit <= both:
        yield Finding(
            "request-limit",
            place,
            f"{limit:g} s are over before timeouts.embed_s and timeouts.search_s are, {both:g} s together: "
            "Serve cuts requests that would get a proper answer. Raise it, or lower those.",
        )


def leases(config: Checked) -> Iterator[Finding]:
    lease_s, call_s = config.args.indexer.lease_s, config.args.timeouts.embed_s
    if lease_s <= call_s:
        yield Finding(
            "short-lease",
            (*ARGS, "indexer", "lease_s"),
            f"{lease_s:g} s are no longer than one call may take (timeouts.embed_s {call_s:g}): photos under "
            "work are claimed again. Raise it, to 30 or more.",
        )


def front_door(config: Checked) -> Iterator[Finding]:
    where, nodes = config.schema.proxy_location, config.cluster.nodes
    host = str(config.schema.http_options.host)
    if where == ProxyLocation.Disabled:
        yield Finding("front-door", ("proxy_location",), "Disabled: no HTTP at all. Set EveryNode.")
    elif where == ProxyLocation.HeadOnly and nodes > 1:
        yield Finding(
            "front-door",
            ("proxy_location",),
            f"HeadOnly on {nodes} nodes: without the head nobody can ask. Set EveryNode, and balance over "
            "the nodes.",
        )
    if nodes > 1 and host in LOOPBACK:
        yield Finding(
            "front-door",
            ("http_options", "host"),
            f"{host}: Ingress replicas listen there, too, so that other nodes do not reach them. Set "
            "0.0.0.0.",
        )


def devices(config: Checked) -> Iterator[Finding]:
    for name, key in TOWERS.items():
        part, device = config.parts[name], str(getattr(config.args, key).device)
        share = part.share("num_gpus")
        if device.startswith("cuda") and not share:
            message = (
                f"args.{key}.device is {device} and a replica reserves no GPU: Ray starts any number of "
            )
            message += "them on one, and some on nodes without. Set num_gpus, such as 0.2."
        elif device == "cpu" and share:
            message = f"{share:g} GPUs are reserved, and args.{key}.device is cpu. Remove num_gpus."
        else:
            continue
        yield Finding("gpu-share", part.at("ray_actor_options", "num_gpus"), message)


def threads(config: Checked) -> Iterator[Finding]:
    for key in TOWERS.values():
        count = getattr(config.args, key).threads
        if count is not None and count > config.cluster.cpus:
            yield Finding(
                "too-many-threads",
                (*ARGS, key, "threads"),
                f"{count} threads on {config.cluster.cpus:g} CPUs wait for each other. Set "
                f"{max(1, int(config.cluster.cpus))} or less, or say what a node has: --cpus.",
            )


CHECKS: tuple[Check, ...] = (shared_calls, messages, time_limits, leases, front_door, devices, threads)
