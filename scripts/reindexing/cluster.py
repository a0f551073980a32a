"""The running service as the driver of a reindex reaches it: over Ray, and over HTTP."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any

import httpx
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from configs.serving import AppArgs
from models.errors import ConfigurationError, DependencyTimeout, DependencyUnavailable
from models.image import IndexVersion
from scripts.join_service import APP_NAME
from serve_app.context import ServingContext, model_app_name
from serve_app.handles import BulkTextEmbedderHandle
from serve_app.model_app import delete_model_app, deploy_model_app, is_served
from serve_app.ports import BulkTextEmbedder
from serve_app.reindexing.hold import Hold
from serve_app.startup import id_of
from serve_app.tasks.fill_version import RayPartitions, running_partitions
from serve_app.tasks.served_version import ServedVersion

DEPLOY_PATIENCE_S = 300.0
LOOK_S = 0.5
TIMEOUT_S = 30.0


class RunningModels:
    """The port ``Models``. ``url``: where requests are answered; ``share``: the online embedders embed."""

    def __init__(self, url: str, embed_timeout_s: float, *, share: bool, hold: Hold | None = None) -> None:
        self._url, self._embed_timeout_s, self._share, self._hold = url, embed_timeout_s, share, hold

    def main_version(self) -> int:
        return self._versions()[0]

    def written(self) -> set[int]:
        return set(self._versions()[1])

    def deploy(self, context: ServingContext) -> None:
        deploy_model_app(context, APP_NAME)
        deadline = time.monotonic() + DEPLOY_PATIENCE_S
        while not is_served(context.version_id):
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"The embedders of '{model_app_name(context.version_id)}' do not start within "
                    f"{DEPLOY_PATIENCE_S / 60:g} minutes. Is there room in the cluster? See `serve status`."
                )
            if self._hold is not None:
                self._hold.rest(LOOK_S)

    def remove(self, version_id: int) -> None:
        if model_app_name(version_id) in serve.status().applications:
            delete_model_app(version_id)

    def texts(self, version: IndexVersion) -> BulkTextEmbedder:
        handle = self._tower("Text", id_of(version))
        return BulkTextEmbedderHandle(handle, self._embed_timeout_s, version.model_key)

    def partitions(self, context: ServingContext) -> AbstractContextManager[RayPartitions]:
        towers = (self._tower(one, context.version_id) for one in ("Image", "Text"))
        return running_partitions(ServedVersion(context, *towers), share=self._share)

    def answering(self) -> str | None:
        try:
            answer = httpx.get(f"{self._url}/readyz", timeout=5.0).json()
            return str(answer["model"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None

    def _tower(self, which: str, version_id: int) -> DeploymentHandle:
        own = model_app_name(version_id)
        app = own if own in serve.status().applications else APP_NAME
        return serve.get_deployment_handle(f"{which}Embedder", app_name=app)

    def _versions(self) -> tuple[int, list[int]]:
        main, written = _asked("versions")
        return main, written


def service_args() -> AppArgs:
    """How the service is configured. Raises DependencyUnavailable or DependencyTimeout."""
    args: AppArgs = _asked("context").args
    return args


def _asked(method: str) -> Any:
    """What the Indexer answers."""
    try:
        indexer = serve.get_deployment_handle("Indexer", APP_NAME)
        return getattr(indexer, method).remote().result(timeout_s=TIMEOUT_S)
    except TimeoutError:
        raise DependencyTimeout("The Indexer did not answer in time. Try again.") from None
    except (RayError, RayServeException) as error:
        raise DependencyUnavailable("The Indexer does not answer: is the service ready?") from error
