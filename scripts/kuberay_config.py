"""Write what configs/kuberay/ has from other files: kustomize reads none outside its folder.

    python -m scripts.kuberay_config                        # configs/cluster.yaml
    python -m scripts.kuberay_config configs/gpu.yaml       # another Serve config

serve-config.yaml is the Serve config as the one string that KubeRay takes, alerts.yaml the alert rules for
the Prometheus operator, nginx.conf.template the edge's config with Kubernetes' names.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from textwrap import indent

import yaml

from models.errors import ConfigurationError
from scripts.command import run

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / "configs" / "kuberay"
PORT = 8000
SERVE_PATCH = """\
# Written by `python -m scripts.kuberay_config {source}`: edit that file, and run it again.
apiVersion: ray.io/v1
kind: RayService
metadata:
  name: fashion
spec:
  serveConfigV2: |
{config}"""
ALERTS = """\
# Written by `python -m scripts.kuberay_config` from configs/monitoring/alerts.yml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: fashion
spec:
{groups}"""
NGINX = """\
# Written by `python -m scripts.kuberay_config` from configs/edge/nginx.conf. Here the nodes' name is that of
# the service which KubeRay keeps of all pods that serve.
{config}"""
# In configs/edge/nginx.conf, what Docker calls the nodes; in the template, what edge.yaml calls them.
NAMES = {
    "resolver 127.0.0.11 ": "resolver ${NGINX_LOCAL_RESOLVERS} ",
    "http://serve:8000": "http://${EDGE_NODES}:8000",
}


def written(source: Path) -> dict[str, str]:
    """The files of configs/kuberay/ by name. Raises ConfigurationError for a config that no pod can serve."""
    config = source.read_text("utf-8")
    _check(config, source)
    alerts = (PROJECT / "configs" / "monitoring" / "alerts.yml").read_text("utf-8")
    return {
        "serve-config.yaml": SERVE_PATCH.format(source=_name(source), config=indent(config, "    ")),
        "alerts.yaml": ALERTS.format(groups=indent(alerts[alerts.index("groups:") :], "  ")),
        "nginx.conf.template": NGINX.format(config=_edge()),
    }


def source_of(patch: str) -> Path:
    """The Serve config that a serve-config.yaml was written from."""
    found = re.search(r"`python -m scripts\.kuberay_config (\S+)`", patch)
    if found is None:
        raise ConfigurationError("serve-config.yaml does not say what it was written from.")
    return PROJECT / found[1]


def _name(source: Path) -> str:
    resolved = source.resolve()
    return str(resolved.relative_to(PROJECT) if resolved.is_relative_to(PROJECT) else resolved)


def _check(config: str, source: Path) -> None:
    try:
        document = yaml.safe_load(config)
        listens = (document["http_options"]["host"], document["http_options"]["port"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{source} is no Serve config with http_options.host and port: {error}"
        ) from error
    if listens != ("0.0.0.0", PORT):
        raise ConfigurationError(
            f"{source} listens at {listens[0]}:{listens[1]}. In a pod it must be 0.0.0.0:{PORT}: set "
            "http_options."
        )


def _edge() -> str:
    config = (PROJECT / "configs" / "edge" / "nginx.conf").read_text("utf-8")
    for docker, kubernetes in NAMES.items():
        if docker not in config:
            raise ConfigurationError(
                f"configs/edge/nginx.conf has no '{docker}' to replace: see {__name__}.NAMES."
            )
        config = config.replace(docker, kubernetes)
    return config


def main() -> int:
    return run(_parser(), _write)


def _write(arguments: argparse.Namespace) -> int:
    for name, text in written(arguments.config).items():
        (FOLDER / name).write_text(text, "utf-8")
        sys.stderr.write(f"Wrote configs/kuberay/{name}.\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.kuberay_config", description=summary)
    default = PROJECT / "configs" / "cluster.yaml"
    parser.add_argument("config", nargs="?", type=Path, default=default, help="default: configs/cluster.yaml")
    return parser


if __name__ == "__main__":
    sys.exit(main())
