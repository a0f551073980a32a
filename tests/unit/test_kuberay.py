"""configs/kuberay/, by its structure: there is no cluster where these tests run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.scripts.scripts import start
from ray.serve.schema import ServeDeploySchema

from configs.serving import AppArgs
from configs.settings import environment_names
from scripts.kuberay_config import FOLDER, source_of
from tests.kuberay_manifests import (
    cluster,
    containers,
    manifest,
    manifests,
    pod_templates,
    ray_groups,
    ray_service,
    secrets,
    selected,
)
from tests.unit.test_compose import LAUNCHER_ONLY
from tests.unit.test_image import environment as image_environment

ROOT = Path(__file__).parents[2]


def test_the_serve_config_is_one() -> None:
    patch = yaml.safe_load((FOLDER / "serve-config.yaml").read_text("utf-8"))
    assert (patch["kind"], patch["metadata"]["name"]) == ("RayService", "fashion")
    text = patch["spec"]["serveConfigV2"]
    assert text == source_of((FOLDER / "serve-config.yaml").read_text("utf-8")).read_text("utf-8")
    schema = ServeDeploySchema.model_validate(yaml.safe_load(text))
    AppArgs.model_validate(schema.applications[0].args)
    timeout_s = schema.http_options.request_timeout_s
    assert timeout_s is not None
    assert timeout_s < ray_service()["spec"]["rayClusterDeletionDelaySeconds"]
    assert timeout_s < pod_templates()["Deployment fashion-edge"]["spec"]["terminationGracePeriodSeconds"]


def test_versions() -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert cluster()["rayVersion"] == ray.__version__
    images = {container["image"] for pod in pod_templates().values() for container in containers(pod)}
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    assert images == {
        f"fashion-recommender:{version}-cpu",
        f"fashion-recommender:{version}-cuda",
        compose["edge"]["image"],
    }
    assert f"Job fashion-migrate-{version.replace('.', '-')}" in manifests()


def test_the_groups() -> None:
    head, cpu, gpu = ray_groups()
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert ray_service()["spec"]["excludeHeadPodFromServeSvc"] is True
    assert cpu["minReplicas"] >= 2  # so that one can be lost
    assert (gpu["replicas"], gpu["minReplicas"]) == (0, 0)
    pod = gpu["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["containers"][0]["image"].endswith("-cuda")
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]
    for group in (
        head,
        cpu,
    ):  # on a machine with GPUs, the image would show them, and Ray offer them to towers
        assert group["rayStartParams"]["num-gpus"] == "0"
        variables = group["template"]["spec"]["containers"][0]["env"]
        assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in variables
    assert "num-gpus" not in gpu["rayStartParams"]  # the operator takes it from the limits


def test_ray_start_knows_the_parameters() -> None:
    options = {name[2:] for option in start.params for name in option.opts if name.startswith("--")}
    for group in ray_groups():
        assert group["rayStartParams"].keys() <= options


def test_the_state_of_the_head_is_in_redis() -> None:
    options = cluster()["gcsFaultToleranceOptions"]
    assert options["redisAddress"] == "redis:6379"
    assert options["redisPassword"]["valueFrom"]["secretKeyRef"] == {
        "name": "fashion-redis",
        "key": "password",
    }
    # While clusters change, two are there: the operator gives each a namespace, unless one is named.
    assert "externalStorageNamespace" not in options


def test_ray_knows_its_token_and_the_image_asks_for_it() -> None:
    assert cluster()["authOptions"] == {"mode": "token"}
    assert image_environment()["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize("name", pod_templates())
def test_pods_have_no_rights_and_a_size(name: str) -> None:
    pod = pod_templates()[name]
    security = pod["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 1000
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    # The autoscaler, beside the head, asks Kubernetes for nodes; nobody else asks it anything.
    assert pod["spec"].get("automountServiceAccountToken") is (None if name == "Ray head" else False)
    everyone = containers(pod) + ([cluster()["autoscalerOptions"]] if name == "Ray head" else [])
    for container in everyone:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        resources = container["resources"]
        assert resources["limits"].keys() >= {"cpu", "memory"} <= resources["requests"].keys()


@pytest.mark.parametrize("name", pod_templates())
def test_pods_that_stay_are_probed(name: str) -> None:
    for container in pod_templates()[name]["spec"]["containers"]:
        probes = [container.get(kind) for kind in ("readinessProbe", "livenessProbe")]
        if name.startswith("Job"):
            assert probes == [None, None]
            continue
        named = {port["name"] for port in container["ports"]}
        for probe in probes:
            assert probe is not None
            port = (probe.get("httpGet") or probe["tcpSocket"])["port"]
            assert isinstance(port, int) or port in named
        assert "wget" not in str(probes)  # the image has none


def test_only_workers_that_serve_get_requests() -> None:
    for group in cluster()["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["readinessProbe"]["httpGet"] == {"path": "/-/healthz", "port": 8000}
        assert {"name": "serve", "containerPort": 8000} in container["ports"]


def test_the_head_waits_for_the_schema() -> None:
    (waits,) = cluster()["headGroupSpec"]["template"]["spec"]["initContainers"]
    (job,) = pod_templates()["Job fashion-migrate-0-1-0"]["spec"]["containers"]
    assert waits["command"][: len(job["command"])] == job["command"] == ["python", "-m", "scripts.migrate"]
    assert waits["command"][3] == "--wait"
    assert waits["envFrom"] == job["envFrom"]


def test_the_example_of_secrets_holds_none_and_is_not_applied() -> None:
    assert {value for data in secrets().values() for value in data.values()} == {""}
    assert (
        "secrets.example.yaml"
        not in (FOLDER / "kustomization.yaml").read_text("utf-8").split("resources:")[1]
    )
    assert not (FOLDER / "secrets.yaml").exists()


def references(value: Any) -> Iterator[tuple[str, str | None]]:
    """Secrets by name, with the key where one is named."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "secretRef":
                yield one["name"], None
            elif key == "secretKeyRef":
                yield one["name"], one["key"]
            elif key == "secret":
                yield from ((one["secretName"], item["key"]) for item in one["items"])
            else:
                yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def test_every_secret_that_is_used_is_in_the_example() -> None:
    used = {
        found
        for name, document in manifests().items()
        if name[:6] != "Secret"
        for found in references(document)
    }
    assert {name for name, _ in used} == secrets().keys()
    for name, key in used:
        assert key is None or key in secrets()[name]


def test_the_service_is_told_every_setting() -> None:
    lines = (FOLDER / "settings.env").read_text("utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    hidden = secrets()["fashion-secrets"].keys()
    assert environment_names() - LAUNCHER_ONLY <= settings.keys() | hidden
    assert not settings.keys() & hidden
    assert not re.search("PASSWORD|SECRET", " ".join(settings))
    assert not any(
        name.startswith("AWS_") for name, value in settings.items() if not value
    )  # botocore takes ""
    for name, pod in pod_templates().items():
        for container in containers(pod):
            if container["image"].startswith("fashion") and "chroma" not in name:
                assert [next(iter(one.values()))["name"] for one in container["envFrom"]] == [
                    "fashion-settings",
                    "fashion-secrets",
                ]


def test_budgets_are_for_pods_that_are_there() -> None:
    workers = manifest("PodDisruptionBudget fashion-ray-workers")["spec"]
    assert selected(workers["selector"]) >= {"Ray cpu", "Ray gpu"}
    assert isinstance(
        workers["minAvailable"], int
    )  # a share, or maxUnavailable, needs a controller with replicas
    assert workers["minAvailable"] < cluster()["workerGroupSpecs"][0]["minReplicas"]
    edge = manifest("PodDisruptionBudget fashion-edge")["spec"]
    assert selected(edge["selector"]) == {"Deployment fashion-edge"}
    assert edge["maxUnavailable"] < manifest("Deployment fashion-edge")["spec"]["replicas"]
