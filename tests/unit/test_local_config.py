"""Config files: every mistake is one line that names the file and says what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.serving import AppArgs
from models.errors import ConfigurationError
from serve_app.local_config import LaunchConfig, load_config

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))
Change = Callable[[dict[str, Any]], object]


def changed(tmp_path: Path, change: Change) -> Path:
    document = yaml.safe_load((CONFIGS[0].parent / "local.yaml").read_text("utf-8"))
    change(document)
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


def application(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["applications"][0]
    return found


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_of_the_project_is_valid(path: Path) -> None:
    config = load_config(path)
    assert config.app_name == "fashion"
    assert config.port == 8000
    names = {
        one["name"] for one in config.schema.model_dump(exclude_unset=True)["applications"][0]["deployments"]
    }
    assert names == {"Ingress", "TextEmbedder", "ImageEmbedder", "SearchIndex", "Indexer"}


def test_only_the_local_config_has_a_fallback() -> None:
    fallbacks = {path.name: load_config(path).args.model.fallback for path in CONFIGS}
    assert [name for name, fallback in fallbacks.items() if fallback is not None] == ["local.yaml"]


def test_arguments_can_be_looked_up_by() -> None:
    """A worker keeps its connections by what it was started with."""
    assert len({AppArgs(), AppArgs(), AppArgs(database_connections=2)}) == 2


def test_what_is_deployed_has_the_chosen_arguments_and_address() -> None:
    config: LaunchConfig = load_config(CONFIGS[0].parent / "local.yaml")
    args = AppArgs.model_validate({"model": {"name": "/some/where"}})
    schema = config.deployable(args, "0.0.0.0", 1234)
    assert (schema.http_options.host, schema.http_options.port) == ("0.0.0.0", 1234)
    assert AppArgs.model_validate(schema.applications[0].args) == args
    assert schema.http_options.request_timeout_s == 90
    assert config.port == 8000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(aplications=[]), "unknown key 'aplications': did you mean 'applications'?"),
        (
            lambda d: d["http_options"].update(prot=1),
            "http_options.prot: unknown key 'prot': did you mean 'port'?",
        ),
        (
            lambda d: application(d).update(arg={}),
            "applications.0.arg: unknown key 'arg': did you mean 'args'?",
        ),
        (
            lambda d: application(d)["args"].update(qqqq=1),
            "unknown key 'qqqq': known keys: accounts, audit, calls, collection, ",
        ),
        (
            lambda d: application(d)["args"]["model"].update(nmae="x"),
            "unknown key 'nmae': did you mean 'name'?",
        ),
        (lambda d: application(d)["args"].update(modle={}), "unknown key 'modle': did you mean 'model'?"),
        (
            lambda d: application(d)["args"]["indexer"].update(lease=3),
            "unknown key 'lease': did you mean 'lease_s'?",
        ),
        (lambda d: application(d)["args"]["indexer"].update(lease_s=-1), "indexer.lease_s: Input should be"),
        (lambda d: application(d)["args"]["indexer"].update(embed_batch=25), "use 24 or less"),
        (
            lambda d: application(d)["deployments"][0].update(name="Igress"),
            "no deployment 'Igress', only Ingress,",
        ),
        (lambda d: application(d)["deployments"][0].update(user_config={"a": 1}), "Ingress takes none"),
        (
            lambda d: application(d)["deployments"][1].update(user_config={"max_batch_sise": 1}),
            "'max_batch_size'?",
        ),
        (
            lambda d: application(d)["deployments"][1].update(user_config={"max_batch_size": 0}),
            "max_batch_size",
        ),
        (lambda d: application(d).update(deployments=[3]), "applications.0.deployments.0: must be a mapping"),
        (
            lambda d: application(d).update(import_path="os:system"),
            "import_path: must be 'serve_app.main:build_app'",
        ),
        (lambda d: d.update(applications=[]), "exactly one application"),
        (lambda d: d.update(applications=[application(d), application(d)]), "exactly one application"),
        (lambda d: d.update(http_options=[]), "changed.yaml"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, change: Change, words: str) -> None:
    path = changed(tmp_path, change)
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    assert str(path) in caught.value.message
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert "pydantic" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"applications: [", "not valid YAML at line 1"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"just words", "not a YAML mapping"),
        (b"", "not a YAML mapping"),
    ],
)
def test_a_config_that_is_no_config(tmp_path: Path, text: bytes, words: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigurationError, match=words) as caught:
        load_config(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
