"""A Serve config file, read and checked before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.schema import DeploymentSchema, HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

from configs.serving import AppArgs, EmbedderUserConfig, SearchUserConfig, unknown_key
from models.errors import ConfigurationError

IMPORT_PATH = "serve_app.main:build_app"
USER_CONFIGS: dict[str, type[BaseModel] | None] = {
    "Ingress": None,
    "TextEmbedder": EmbedderUserConfig,
    "ImageEmbedder": EmbedderUserConfig,
    "SearchIndex": SearchUserConfig,
    "Indexer": None,
}


class LaunchConfig:
    """``schema``: the whole file as Serve takes it; ``args``: its one application's arguments, typed."""

    def __init__(self, path: Path, schema: ServeDeploySchema, args: AppArgs) -> None:
        self.path = path
        self.schema = schema
        self.args = args

    @property
    def host(self) -> str:
        return str(self.schema.http_options.host)

    @property
    def port(self) -> int:
        return int(self.schema.http_options.port)

    @property
    def app_name(self) -> str:
        return str(self.schema.applications[0].name)

    def deployable(self, args: AppArgs, host: str, port: int) -> ServeDeploySchema:
        """The file with these arguments and this address in place of its own."""
        document = self.schema.model_dump(exclude_unset=True)
        document["applications"][0]["args"] = args.model_dump(mode="json")
        document.setdefault("http_options", {}).update(host=host, port=port)
        return ServeDeploySchema.model_validate(document)


def load_config(path: Path, import_path: str = IMPORT_PATH) -> LaunchConfig:
    """Raises ConfigurationError with one line that says what to change. ``import_path``: of the only
    application that it may name."""
    document = _read(path)
    _refuse_unknown_keys(path, "", document, ServeDeploySchema)
    applications = document.get("applications")
    if not isinstance(applications, list) or len(applications) != 1 or not isinstance(applications[0], dict):
        raise ConfigurationError(f"{path}: 'applications' must be a list of exactly one application.")
    application = applications[0]
    _refuse_unknown_keys(path, "applications.0.", application, ServeApplicationSchema)
    _refuse_unknown_keys(path, "http_options.", document.get("http_options") or {}, HTTPOptionsSchema)
    for number, deployment in enumerate(application.get("deployments") or []):
        _check_deployment(path, f"applications.0.deployments.{number}.", deployment)
    if application.get("import_path") != import_path:
        raise ConfigurationError(f"{path}: applications.0.import_path must be '{import_path}'.")
    try:
        args = AppArgs.model_validate(application.get("args") or {})
        return LaunchConfig(path, ServeDeploySchema.model_validate(document), args)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_first_message(error)}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {str(error).strip().splitlines()[0]}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"The config {path} cannot be read ({error.strerror}). Name a file such as configs/local.yaml."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"The config {path} is not valid YAML{where}. Correct it there.") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"The config {path} is not a YAML mapping. Start from configs/local.yaml.")
    return document


def _refuse_unknown_keys(path: Path, where: str, values: Any, schema: type[BaseModel]) -> None:
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: {where.rstrip('.')} must be a mapping.")
    for key in values:
        if key not in schema.model_fields:
            raise ConfigurationError(
                f"{path}: {where}{_ended(unknown_key(str(key), list(schema.model_fields)))}"
            )


def _check_deployment(path: Path, where: str, deployment: Any) -> None:
    """Serve would find these mistakes only once the replicas start, half a minute later."""
    _refuse_unknown_keys(path, where, deployment, DeploymentSchema)
    name = deployment.get("name")
    if name not in USER_CONFIGS:
        known = ", ".join(USER_CONFIGS)
        raise ConfigurationError(f"{path}: {where}name: there is no deployment '{name}', only {known}.")
    values = deployment.get("user_config")
    if values is None:
        return
    schema = USER_CONFIGS[name]
    if schema is None:
        raise ConfigurationError(f"{path}: {where}user_config: {name} takes none. Remove it.")
    try:
        schema.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {where}user_config: {_first_message(error)}") from None


def _first_message(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return _ended(f"{place}: {message}" if place else message)


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith("?") else f"{sentence}."
