"""A further model beside the main application's: the same two embedders, as a Serve application of its own.

Only a driver deploys it (``scripts.reindex``). It outlives that driver, and ends with Serve or by
``delete_model_app``.
"""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve._private.api import _get_global_client
from ray.serve.api import _run
from ray.serve.schema import ApplicationStatus, ServeInstanceDetails

from models.errors import ConfigurationError
from serve_app.context import ServingContext, model_app_name
from serve_app.deployments.embedder import Embedder

MAIN_APP = "fashion"


def build_model_app(context: ServingContext, options: dict[str, dict[str, Any]] | None = None) -> Application:
    """Both embedders of the context's model. ``options``: by deployment; without any, Serve's own."""
    options, args = options or {}, context.args
    timeout_s = context.args.model.hub_timeout_s
    image = serve.deployment(Embedder, name="ImageEmbedder", **options.get("ImageEmbedder", {})).bind(
        "image", context.model, args.image_embedder, timeout_s
    )
    text = serve.deployment(Embedder, name="TextEmbedder", **options.get("TextEmbedder", {}))
    return text.bind("text", context.model, args.text_embedder, timeout_s, image)


def deploy_model_app(context: ServingContext, main_app: str = MAIN_APP) -> None:
    """Have the context's model served, with the options that the main application's embedders have now.

    Does not wait for it. One that runs already stays. Raises ConfigurationError where the main application
    does not run.
    """
    name = model_app_name(context.version_id)
    if serve.status().applications.get(name) is not None and is_served(context.version_id):
        return
    app = build_model_app(context, running_options(main_app))
    _run(app, _blocking=False, name=name, route_prefix=None)


def is_served(version_id: int) -> bool:
    """Whether both towers run. Raises ConfigurationError where they cannot start."""
    app = serve.status().applications.get(model_app_name(version_id))
    if app is not None and app.status is ApplicationStatus.DEPLOY_FAILED:
        reasons = [one.message for one in app.deployments.values() if one.message] or [app.message]
        last = reasons[0].strip().splitlines()[-1:]
        raise ConfigurationError(f"The embedders of version {version_id} do not start: {' '.join(last)}")
    return app is not None and app.status is ApplicationStatus.RUNNING


def delete_model_app(version_id: int) -> None:
    """Stop serving the version's model; nothing where it is not served."""
    serve.delete(model_app_name(version_id))


def running_options(main_app: str) -> dict[str, dict[str, Any]]:
    """Shares, autoscaling, queues and user_config of the main application's embedders, by name."""
    details = ServeInstanceDetails(**_get_global_client().get_serve_details())
    application = details.applications.get(main_app)
    if application is None:
        raise ConfigurationError(f"No application '{main_app}' runs in this Serve. Start the service first.")
    found: dict[str, dict[str, Any]] = {}
    for name in ("TextEmbedder", "ImageEmbedder"):
        options = application.deployments[name].deployment_config.model_dump(exclude_unset=True)
        if options.get("autoscaling_config") is not None:
            options.pop("num_replicas", None)
        found[name] = {key: value for key, value in options.items() if key != "name"}
    return found
