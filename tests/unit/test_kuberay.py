"""configs/kuberay/, by its structure: there is no cluster where these tests run."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.serve.schema import ServeDeploySchema

from configs.serving import AppArgs
from configs.settings import environment_names
from models.errors import ConfigurationError
from scripts.kuberay_config import FOLDER, source_of, written
from tests.kuberay_schema import TABLES, VERSIONS, operator_errors
from tests.kubernetes_models import document_errors
from tests.unit.test_compose import LAUNCHER_ONLY
from tests.unit.test_image import environment as image_environment

ROOT = Path(__file__).parents[2]
NO_MANIFEST = {"kustomization.yaml", "references.yaml"}
WORDS = {"labels", "matchLabels", "annotations", "rayStartParams", "limits", "requests", "data", "stringData"}
Document = dict[str, Any]

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@cache
def manifests() -> dict[str, Document]:
    """Every manifest by its kind and name, the secrets' example included."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name not in NO_MANIFEST | {"serve-config.yaml"}:
            for document in yaml.safe_load_all(path.read_text("utf-8")):
                found[f"{document['kind']} {document['metadata']['name']}"] = document
    return found


def manifest(name: str) -> Document:
    return copy.deepcopy(manifests()[name])


def problems(document: Document) -> list[str]:
    return document_errors(document, TABLES, VERSIONS)


def ray_service() -> Document:
    return manifest("RayService fashion")


def cluster() -> Document:
    return dict(ray_service()["spec"]["rayClusterConfig"])


def ray_groups() -> list[Document]:
    spec = cluster()
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def pod_templates() -> dict[str, Document]:
    """All pods of ours, by what makes them."""
    made = {
        name: document["spec"]["template"]
        for name, document in manifests().items()
        if document["kind"] in {"Deployment", "StatefulSet", "Job"}
    }
    return made | {f"Ray {group.get('groupName', 'head')}": group["template"] for group in ray_groups()}


def containers(pod: Document) -> list[Document]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def selected(selector: Document) -> set[str]:
    """The pods whose labels match. Labels that the operator adds count as there."""
    wanted = {key: value for key, value in selector["matchLabels"].items() if not key.startswith("ray.io/")}
    return {
        name for name, pod in pod_templates().items() if wanted.items() <= pod["metadata"]["labels"].items()
    }


def kustomize(folder: Path) -> list[Document]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


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


def test_what_is_written_from_other_files_is_theirs() -> None:
    source = source_of((FOLDER / "serve-config.yaml").read_text("utf-8"))
    for name, text in written(source).items():
        assert (FOLDER / name).read_text("utf-8") == text, (
            f"{name}: run python -m scripts.kuberay_config {source}"
        )


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


def test_a_config_that_pods_cannot_serve_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "local.yaml"
    path.write_text("http_options: {host: 127.0.0.1, port: 8000}\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"listens at 127\.0\.0\.1:8000"):
        written(path)
    path.write_text("applications: []\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"no Serve config"):
        written(path)


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


def secrets() -> dict[str, Document]:
    return {
        document["metadata"]["name"]: document["stringData"]
        for document in manifests().values()
        if document["kind"] == "Secret"
    }


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
    for name, pod in pod_templates().items():
        for container in containers(pod):
            if container["image"].startswith("fashion") and "chroma" not in name:
                assert [next(iter(one.values()))["name"] for one in container["envFrom"]] == [
                    "fashion-settings",
                    "fashion-secrets",
                ]


def test_chroma_admits_only_ray() -> None:
    policy = manifest("NetworkPolicy fashion-chroma")["spec"]
    assert selected(policy["podSelector"]) == {"StatefulSet chroma"}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = policy["ingress"]
    (peer,) = rule["from"]
    assert peer.keys() == {"podSelector"}  # of this namespace
    assert selected(peer["podSelector"]) == {"Ray head", "Ray cpu", "Ray gpu"}
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]
    assert policy["egress"] == []


def test_nobody_reaches_ray_without_a_reason() -> None:
    policy = manifest("NetworkPolicy fashion-ray")["spec"]
    assert selected(policy["podSelector"]) == {"Ray head", "Ray cpu", "Ray gpu"}
    own, *others = policy["ingress"]
    assert [selected(peer["podSelector"]) for peer in own["from"]] == [{"Ray head", "Ray cpu", "Ray gpu"}]
    assert all(rule["ports"] for rule in others)
    (edge,) = [rule for rule in others if "namespaceSelector" not in rule["from"][0]]
    assert selected(edge["from"][0]["podSelector"]) == {"Deployment fashion-edge"}
    assert edge["ports"] == [{"protocol": "TCP", "port": 8000}]


def test_the_edge_reaches_no_data() -> None:
    policy = manifest("NetworkPolicy fashion-edge")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert selected(policy["podSelector"]) == {"Deployment fashion-edge"}
    ray_only, names = policy["egress"]
    assert selected(ray_only["to"][0]["podSelector"]) == {"Ray head", "Ray cpu", "Ray gpu"}
    assert [port["port"] for port in names["ports"]] == [53, 53]


def test_only_the_edge_listens_beyond_the_cluster() -> None:
    for name, document in manifests().items():
        if document["kind"] == "Service":
            exposed = document["spec"].get("type", "ClusterIP")
            assert exposed == ("LoadBalancer" if name == "Service fashion-edge" else "ClusterIP")
            (made,) = selected({"matchLabels": document["spec"]["selector"]})
            named = {port["name"] for port in pod_templates()[made]["spec"]["containers"][0]["ports"]}
            assert {port["targetPort"] for port in document["spec"]["ports"]} <= named


def directives(config: str) -> list[str]:
    return [line.split("#")[0].strip() for line in config.splitlines() if line.split("#")[0].strip()]


def test_the_edge_has_its_template_and_calls_the_service_of_those_that_serve() -> None:
    template = (FOLDER / "nginx.conf.template").read_text("utf-8")
    (nginx,) = pod_templates()["Deployment fashion-edge"]["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in nginx["env"]}
    variables = set(re.findall(r"\$\{(\w+)\}", template))
    assert variables == {"EDGE_NODES", "NGINX_LOCAL_RESOLVERS"}
    # The entry point replaces these and no other: nginx has variables of its own.
    assert all(re.fullmatch(told["NGINX_ENVSUBST_FILTER"] or "", name) for name in variables)
    assert (
        told["EDGE_NODES"] == f"{ray_service()['metadata']['name']}-serve-svc.$(NAMESPACE).svc.cluster.local"
    )
    filled = template.replace("${EDGE_NODES}", "serve").replace("${NGINX_LOCAL_RESOLVERS}", "127.0.0.11")
    config = (ROOT / "configs" / "edge" / "nginx.conf").read_text("utf-8")  # that test_edge.py tries
    assert directives(filled) == directives(config)
    mounts = {mount["mountPath"] for mount in nginx["volumeMounts"]}
    assert mounts == {"/etc/nginx/templates/nginx.conf.template", "/certs", "/tmp"}
    (certificate,) = [
        volume["secret"]
        for volume in pod_templates()["Deployment fashion-edge"]["spec"]["volumes"]
        if "secret" in volume
    ]
    for item in certificate["items"]:
        assert f"/certs/{item['path']};" in template


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


def test_prometheus_asks_what_compose_s_does() -> None:
    monitor = manifest("PodMonitor fashion-ray")["spec"]
    assert selected(monitor["selector"]) == {"Ray head", "Ray cpu", "Ray gpu"}
    config = yaml.safe_load((ROOT / "configs" / "monitoring" / "prometheus.yml").read_text("utf-8"))
    expected = {job["job_name"]: job["dns_sd_configs"][0]["port"] for job in config["scrape_configs"]}
    for group in ray_groups():
        ports = {
            port["name"]: port["containerPort"]
            for port in group["template"]["spec"]["containers"][0]["ports"]
        }
        found = {}
        for endpoint in monitor["podMetricsEndpoints"]:
            (rule,) = endpoint["relabelings"]
            assert rule["targetLabel"] == "job"
            found[rule["replacement"]] = ports[endpoint["port"]]
        assert found == expected


@needs_kubectl
def test_kustomize_builds_it() -> None:
    built = kustomize(FOLDER)
    assert [problems(document) for document in built if problems(document)] == []
    assert {document["kind"] for document in built} >= {
        document["kind"] for document in manifests().values()
    } - {"Secret"}
    (service,) = [document for document in built if document["kind"] == "RayService"]
    patch = yaml.safe_load((FOLDER / "serve-config.yaml").read_text("utf-8"))
    assert service["spec"]["serveConfigV2"] == patch["spec"]["serveConfigV2"]
    (settings,) = [
        document["metadata"]["name"]
        for document in built
        if document["kind"] == "ConfigMap" and "settings" in document["metadata"]["name"]
    ]
    assert settings != "fashion-settings"
    assert str(built).count(f"'configMapRef': {{'name': '{settings}'}}") == 5


def overlay(folder: Path, *, monitored: bool = True) -> None:
    """The overlay of the guide, beside a copy of configs/kuberay/."""
    guide = (ROOT / "docs" / "deploy-kubernetes.md").read_text("utf-8")
    text, unmonitored = re.findall(r"^```yaml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    if not monitored:
        text += unmonitored.replace("patches:\n", "")
    (folder / "kustomization.yaml").write_text(text.replace("../configs/kuberay", "base"), "utf-8")
    shutil.copytree(FOLDER, folder / "base")


@needs_kubectl
def test_the_overlay_of_the_guide_builds(tmp_path: Path) -> None:
    overlay(tmp_path)
    built = kustomize(tmp_path)
    assert [problems(document) for document in built if problems(document)] == []
    (service,) = [document for document in built if document["kind"] == "RayService"]
    spec = service["spec"]["rayClusterConfig"]
    assert (
        spec["gcsFaultToleranceOptions"]["redisAddress"]
        != cluster()["gcsFaultToleranceOptions"]["redisAddress"]
    )
    assert spec["gcsFaultToleranceOptions"]["redisPassword"]
    (settings,) = [document for document in built if "fashion-settings" in document["metadata"]["name"]]
    assert settings["data"]["DB_NAME"] == "fashion"
    assert settings["data"]["DB_HOST"] != "postgres"
    assert str(built).count(f"'configMapRef': {{'name': '{settings['metadata']['name']}'}}") == 5
    images = set(re.findall(r"'image': '([^']*)'", str(built)))
    assert {image for image in images if "nginx" not in image} == {
        "registry.example/fashion-recommender:0.1.0-cpu",
        "registry.example/fashion-recommender:0.1.0-cuda",
    }


@needs_kubectl
def test_it_builds_without_the_prometheus_operator(tmp_path: Path) -> None:
    overlay(tmp_path, monitored=False)
    kinds = {document["kind"] for document in kustomize(tmp_path)}
    assert "RayService" in kinds
    assert not {"PodMonitor", "PrometheusRule"} & kinds


def test_the_gpu_config_can_be_served() -> None:
    assert "serve-config.yaml" in written(ROOT / "configs" / "gpu.yaml")
