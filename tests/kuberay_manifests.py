"""The manifests of configs/kuberay/, as tests look at them."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import yaml

from scripts.kuberay_config import FOLDER
from tests.kuberay_schema import TABLES, VERSIONS
from tests.kubernetes_models import document_errors

NO_MANIFEST = {"kustomization.yaml", "references.yaml", "serve-config.yaml"}
Document = dict[str, Any]


@cache
def manifests() -> dict[str, Document]:
    """Every manifest by its kind and name, the secrets' example included."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name not in NO_MANIFEST:
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


def secrets() -> dict[str, Document]:
    return {
        document["metadata"]["name"]: document["stringData"]
        for document in manifests().values()
        if document["kind"] == "Secret"
    }
