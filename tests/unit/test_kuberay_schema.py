"""configs/kuberay/ against the schemas of Kubernetes, KubeRay and the Prometheus operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kuberay_manifests import (
    manifest,
    manifests,
    problems,
    ray_service,
)
from tests.kuberay_schema import operator_errors

WORDS = {"labels", "matchLabels", "annotations", "rayStartParams", "limits", "requests", "data", "stringData"}


@pytest.mark.parametrize("name", manifests())
def test_the_manifest_follows_its_schema(name: str) -> None:
    assert problems(manifest(name)) == []


def key_places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where keys are that a schema names: not those of labels, resources and the like."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield (*place, key)
            if key not in WORDS and (key != "selector" or "matchLabels" in one):
                yield from key_places(one, (*place, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from key_places(one, (*place, number))


@pytest.mark.parametrize("name", manifests())
def test_a_typo_in_any_field_is_found(name: str) -> None:
    places = list(key_places(manifests()[name]))
    assert len(places) > 4
    for *above, key in places:
        document = manifest(name)
        where = document
        for step in above:
            where = where[step]
        where[f"{key}s"] = where.pop(key)
        assert problems(document), (*above, key)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec.rayClusterConfig.rayVersion", 2.6, "2.6 is no str"),
        ("spec.rayClusterConfig.enableInTreeAutoscaling", "true", "'true' is no bool"),
        ("spec.rayClusterConfig.workerGroupSpecs.0.maxReplicas", True, "True is no int"),
        ("spec.rayClusterConfig.authOptions.mode", "tokens", "'tokens' is none of disabled|token"),
        ("spec.rayClusterConfig.headGroupSpec.rayStartParams.num-cpus", 0, "0 is no str"),
        ("spec.rayClusterConfig.headGroupSpec.template.spec.containers.0.name", None, "None is no str"),
        ("spec.rayClusterConfig.workerGroupSpecs.0.template.spec.tolerations", {}, "{} is no list"),
        (
            "spec.rayClusterConfig.workerGroupSpecs.1.template.spec.containers.0.resources.limits.memory",
            "32GB",
            "'32GB' is no quantity",
        ),
        ("apiVersion", "ray.io/v1alpha1", "'ray.io/v1alpha1' is not 'ray.io/v1'"),
    ],
)
def test_a_wrong_value_is_found(path: str, value: Any, said: str) -> None:
    service = ray_service()
    *above, last = path.split(".")
    where: Any = service
    for step in above:
        where = where[int(step)] if isinstance(where, list) else where[step]
    where[last] = value
    assert any(said in problem for problem in problems(service)), problems(service)


def test_a_missing_field_is_found() -> None:
    service = ray_service()
    del service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0][
        "name"
    ]
    del service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
    found = "\n".join(problems(service))
    assert "`name`, must not be `None`" in found
    assert "HeadGroupSpec needs template" in found


def test_the_operator_admits_it() -> None:
    assert list(operator_errors(ray_service())) == []


def test_what_the_operator_refuses_is_found() -> None:
    service = ray_service()
    spec = service["spec"]["rayClusterConfig"]
    spec["rayVersion"] = "2.51.1"
    spec["headGroupSpec"]["rayStartParams"]["redis-password"] = "secret"
    spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "REDIS_PASSWORD", "value": "x"}
    ]
    spec["workerGroupSpecs"][0] |= {"minReplicas": 9, "groupName": "gpu"}
    spec["workerGroupSpecs"][1]["template"]["spec"]["restartPolicy"] = "Always"
    service["metadata"]["name"] = "1st"
    assert len(list(operator_errors(service))) == 7
