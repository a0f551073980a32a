"""Where the embedders of an index version are served."""

from __future__ import annotations

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from models.errors import DependencyUnavailable
from models.image import IndexVersion
from serve_app.context import model_app_name
from serve_app.startup import context_of
from serve_app.tasks.served_version import ServedVersion


def with_towers(main: ServedVersion, version: IndexVersion) -> ServedVersion:
    """The version with its embedders. ``main``: the main application's own one; any other is served by an
    application of its own.

    May block. Raises ConfigurationError where its checkpoint is not on this machine, DependencyUnavailable
    where its model is not served.
    """
    if version.id == main.context.version_id:
        return main
    context = context_of(main.context.args, version)
    name = model_app_name(context.version_id)
    try:
        image, text = (
            serve.get_deployment_handle(f"{tower}Embedder", app_name=name) for tower in ("Image", "Text")
        )
    except (RayError, RayServeException) as error:
        raise DependencyUnavailable(f"The Serve application '{name}' does not run.") from error
    return ServedVersion(context, image, text)
