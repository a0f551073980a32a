"""A Serve config file, read and checked before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ray.serve.schema import ServeDeploySchema

from configs.serving import AppArgs
from models.errors import ConfigurationError
from serve_app.config_mistakes import mistakes

IMPORT_PATH = "serve_app.main:build_app"


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
    document = read_document(path)
    for mistake in mistakes(document, import_path):
        raise ConfigurationError(f"{path}: {mistake}")
    args = AppArgs.model_validate(document["applications"][0].get("args") or {})
    return LaunchConfig(path, ServeDeploySchema.model_validate(document), args)


def read_document(path: Path) -> dict[str, Any]:
    """Raises ConfigurationError where the file is not a YAML mapping."""
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
