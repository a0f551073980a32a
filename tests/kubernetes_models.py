"""Strict validation of manifests: an unknown field, another type or a missing field is an error.

Kubernetes' own kinds are checked by the models of the package ``kubernetes``, others by tables in the same
notation (``str``, ``int``, ``bool``, ``list[X]``, ``dict[str, str]``, a model's name). In tables
``enum[a|b]`` lists values, and a ``!`` after a field's name says that it is required.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubernetes.client import models

Tables = Mapping[str, Mapping[str, str]]
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|[KMGT]i|[MGT])?")
LABEL = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
QUANTITIES = {"limits", "requests"}
SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "datetime": (str,),
    "object": (int, str),  # a number or a name, as of ports
}
API_VERSIONS = {
    "Namespace": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "Job": "batch/v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}


def document_errors(document: Mapping[str, Any], tables: Tables, versions: Mapping[str, str]) -> list[str]:
    """What is wrong with one manifest. ``tables``, ``versions``: of kinds that are not Kubernetes' own."""
    kind = document.get("kind")
    expected = versions.get(str(kind)) or API_VERSIONS.get(str(kind))
    if expected is None:
        return [f"kind: {kind!r} is unknown here"]
    if document.get("apiVersion") != expected:
        return [f"apiVersion: {document.get('apiVersion')!r} is not {expected!r} of {kind}"]
    type_name = str(kind) if kind in versions else f"V1{kind}"
    name = (document.get("metadata") or {}).get("name", "")
    bad_name = [] if NAME.fullmatch(str(name)) else [f"metadata.name: {name!r} is no name"]
    return bad_name + list(errors(document, type_name, str(kind), tables))


def errors(value: Any, type_name: str, place: str, tables: Tables) -> Iterator[str]:
    """What is wrong with a value that should be of this type, each with its place."""
    if type_name in SCALARS:
        yield from _scalar_errors(value, type_name, place)
    elif found := re.fullmatch(r"enum\[(.*)\]", type_name):
        if value not in found[1].split("|"):
            yield f"{place}: {value!r} is none of {found[1]}"
    elif found := re.fullmatch(r"list\[(.*)\]", type_name):
        yield from _list_errors(value, found[1], place, tables)
    elif found := re.fullmatch(r"dict\[str, (.*)\]", type_name):
        yield from _map_errors(value, found[1], place, tables)
    else:
        yield from _object_errors(value, type_name, place, tables)


def _scalar_errors(value: Any, type_name: str, place: str) -> Iterator[str]:
    known = SCALARS[type_name]
    if not isinstance(value, known) or (isinstance(value, bool) and bool not in known):
        yield f"{place}: {value!r} is no {type_name}"


def _list_errors(value: Any, item: str, place: str, tables: Tables) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{place}: {value!r} is no list"
        return
    for number, one in enumerate(value):
        yield from errors(one, item, f"{place}[{number}]", tables)


def _map_errors(value: Any, item: str, place: str, tables: Tables) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: {value!r} is no map"
        return
    last = place.rpartition(".")[2]
    for key, one in value.items():
        yield from errors(one, item, f"{place}.{key}", tables)
        if last in QUANTITIES and not QUANTITY.fullmatch(str(one)):
            yield f"{place}.{key}: {one!r} is no quantity"
        if last in {"labels", "matchLabels"} and not LABEL.fullmatch(str(one)):
            yield f"{place}.{key}: {one!r} is no label's value"


def _object_errors(value: Any, type_name: str, place: str, tables: Tables) -> Iterator[str]:
    fields, required = _fields(type_name, tables)
    if not isinstance(value, dict):
        yield f"{place}: {value!r} is no {type_name}"
        return
    for key, one in value.items():
        if key in fields:
            yield from errors(one, fields[key], f"{place}.{key}", tables)
        else:
            near = difflib.get_close_matches(str(key), fields, 1)
            yield f"{place}: {type_name} has no field {key!r}" + (
                f"; did you mean {near[0]!r}?" if near else ""
            )
    missing = [name for name in required if name not in value]
    if missing:
        yield f"{place}: {type_name} needs {', '.join(missing)}"
    elif type_name not in tables:
        yield from _refused(value, type_name, place)


def _fields(type_name: str, tables: Tables) -> tuple[dict[str, str], list[str]]:
    """The fields of a type, and those that it cannot do without."""
    if type_name in tables:
        table = tables[type_name]
        return {name.rstrip("!"): type_ for name, type_ in table.items()}, [
            name.rstrip("!") for name in table if name.endswith("!")
        ]
    model = getattr(models, type_name)
    fields = {model.attribute_map[name]: type_ for name, type_ in model.openapi_types.items()}
    return {name: type_ for name, type_ in fields.items() if name != "status"}, []


def _refused(value: Mapping[str, Any], type_name: str, place: str) -> Iterator[str]:
    """What the model itself says, which knows its required fields."""
    model = getattr(models, type_name)
    attributes = {json: name for name, json in model.attribute_map.items()}
    try:
        model(**{attributes[key]: one for key, one in value.items() if key in attributes})
    except ValueError as error:
        yield f"{place}: {error}"
