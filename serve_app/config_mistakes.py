"""All mistakes of a Serve config, before anything is started: of Serve's keys and of this project's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from configs.serving import AppArgs, EmbedderUserConfig, SearchUserConfig, unknown_key

Place = tuple[str | int, ...]
APPLICATION: Place = ("applications", 0)
NO_MAPPING = "must be a mapping."
USER_CONFIGS: dict[str, type[BaseModel] | None] = {
    "Ingress": None,
    "TextEmbedder": EmbedderUserConfig,
    "ImageEmbedder": EmbedderUserConfig,
    "SearchIndex": SearchUserConfig,
    "Indexer": None,
}


@dataclass(frozen=True)
class Mistake:
    """``place``: keys and list indices, from the top of the document."""

    place: Place
    message: str

    def __str__(self) -> str:
        place = ".".join(map(str, self.place))
        return f"{place}: {self.message}" if place else self.message


def mistakes(document: dict[str, Any], import_path: str) -> list[Mistake]:
    """One of each place. ``import_path``: of the only application that the config may name."""
    found: dict[Place, Mistake] = {}
    for mistake in _mistakes(document, import_path):
        found.setdefault(mistake.place, mistake)
    return list(found.values())


def _mistakes(document: dict[str, Any], import_path: str) -> Iterator[Mistake]:
    unknown: list[Mistake] = []
    known = _known(ServeDeploySchema, document, (), unknown)
    yield from unknown
    applications = known.get("applications")
    if not isinstance(applications, list) or len(applications) != 1:
        yield Mistake(("applications",), "must be a list of exactly one application.")
        return
    application = applications[0]
    if not isinstance(application, dict):
        return  # told as unknown
    if application.get("import_path") != import_path:
        yield Mistake((*APPLICATION, "import_path"), f"must be '{import_path}'.")
    yield from _of_args(application.get("args") or {})
    yield from _of_deployments(application)
    if not any(mistake.message == NO_MAPPING for mistake in unknown):  # Serve's validators stumble over it
        yield from _of(ServeDeploySchema, known, ())


def _of_args(args: Any) -> Iterator[Mistake]:
    unknown: list[Mistake] = []
    place = (*APPLICATION, "args")
    known = _known(AppArgs, args, place, unknown)
    yield from unknown
    if isinstance(known, dict):
        yield from _of(AppArgs, known, place)


def _of_deployments(application: dict[str, Any]) -> Iterator[Mistake]:
    deployments = application.get("deployments")
    names: set[str] = set()
    for number, own in enumerate(deployments if isinstance(deployments, list) else ()):
        if isinstance(own, dict):
            place = (*APPLICATION, "deployments", number)
            yield from _of_name(own.get("name"), names, (*place, "name"))
            yield from _of_user_config(own.get("name"), own.get("user_config"), (*place, "user_config"))
            if isinstance(own.get("autoscaling_config"), dict):
                yield from _of(AutoscalingConfig, own["autoscaling_config"], (*place, "autoscaling_config"))


def _of_name(name: Any, names: set[str], place: Place) -> Iterator[Mistake]:
    if name not in USER_CONFIGS:
        yield Mistake(place, f"there is no deployment '{name}', only {', '.join(USER_CONFIGS)}.")
    elif name in names:
        yield Mistake(place, f"{name} stands here a second time, and only the last one counts. Join them.")
    names.add(str(name))


def _of_user_config(name: Any, values: Any, place: Place) -> Iterator[Mistake]:
    """Serve would find these only once the replicas start, half a minute later."""
    if values is None or name not in USER_CONFIGS:
        return
    schema = USER_CONFIGS[name]
    if schema is None:
        yield Mistake(place, f"{name} takes none. Remove it.")
        return
    unknown: list[Mistake] = []
    known = _known(schema, values, place, unknown)
    yield from unknown
    if isinstance(known, dict):
        yield from _of(schema, known, place)


def _known(schema: type[BaseModel], values: Any, place: Place, found: list[Mistake]) -> Any:
    """``values`` without the keys that ``schema`` does not know, which are added to ``found``.

    Serve itself ignores most unknown keys.
    """
    if not isinstance(values, dict):
        found.append(Mistake(place, NO_MAPPING))
        return values
    kept = {}
    for key, value in values.items():
        if key in schema.model_fields:
            kept[key] = _known_below(schema.model_fields[key].annotation, value, (*place, key), found)
        else:
            message = unknown_key(str(key), list(schema.model_fields))
            found.append(Mistake((*place, str(key)), message if message.endswith("?") else f"{message}."))
    return kept


def _known_below(annotation: Any, value: Any, place: Place, found: list[Mistake]) -> Any:
    schema = _model_in(annotation)
    if schema is None or value is None:
        return value
    if isinstance(value, list):
        return [_known(schema, one, (*place, number), found) for number, one in enumerate(value)]
    return _known(schema, value, place, found)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """That of ``Model``, ``Model | None``, ``list[Model]``, ``dict | Model``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one))), None)


def _of(schema: type[BaseModel], values: dict[str, Any], place: Place) -> Iterator[Mistake]:
    try:
        schema.model_validate(values)
    except ValidationError as error:
        for one in error.errors():
            message = _sentence(one)
            yield Mistake((*place, *one["loc"], *_meant(one.get("input"), message)), message)
    except ValueError as error:  # some of Serve's validators
        yield Mistake(place, f"{str(error).strip().splitlines()[0].rstrip('.')}.")


def _meant(value: Any, message: str) -> Place:
    """The key that a message about several begins with."""
    word = message.split()[0]
    return (word,) if isinstance(value, dict) and word in value else ()


def _sentence(error: Any) -> str:
    message = str(error["msg"]).splitlines()[0].removeprefix("Value error, ").rstrip(".")
    if error["type"] == "missing":
        return "is missing. Add it."
    value = error.get("input")
    return f"{message}." if isinstance(value, dict | list) else f"{message}; it is {value!r}."
