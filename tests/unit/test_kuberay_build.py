"""configs/kuberay/: what is written from other files, and what kustomize builds."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from models.errors import ConfigurationError
from scripts.kuberay_config import FOLDER, source_of, written
from tests.kuberay_manifests import (
    Document,
    cluster,
    manifests,
    problems,
)

ROOT = Path(__file__).parents[2]

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def kustomize(folder: Path) -> list[Document]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_what_is_written_from_other_files_is_theirs() -> None:
    source = source_of((FOLDER / "serve-config.yaml").read_text("utf-8"))
    for name, text in written(source).items():
        assert (FOLDER / name).read_text("utf-8") == text, (
            f"{name}: run python -m scripts.kuberay_config {source}"
        )


def test_a_config_that_pods_cannot_serve_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "local.yaml"
    path.write_text("http_options: {host: 127.0.0.1, port: 8000}\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"listens at 127\.0\.0\.1:8000"):
        written(path)
    path.write_text("applications: []\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"no Serve config"):
        written(path)


def test_the_gpu_config_can_be_served() -> None:
    assert "serve-config.yaml" in written(ROOT / "configs" / "gpu.yaml")


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
