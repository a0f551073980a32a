"""What is written about the configuration is whole: every variable and every key, with its default."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from configs.serving import AppArgs
from configs.settings import environment_names

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "configuration.md").read_text("utf-8")


def defaults(args: BaseModel, place: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(args).model_fields:
        value = getattr(args, name)
        if isinstance(value, BaseModel):
            yield from defaults(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


@pytest.mark.parametrize(("key", "default"), list(defaults(AppArgs())), ids=str)
def test_the_guide_has_every_key_with_its_default(key: str, default: Any) -> None:
    row = next((line for line in GUIDE.splitlines() if line.startswith("|") and f"`{key}`" in line), None)
    assert row is not None, "docs/configuration.md has no row for it"
    written = row.split("|")[2].strip().strip("`")
    assert written == (default if isinstance(default, str) else json.dumps(default).removesuffix(".0"))


@pytest.mark.parametrize("name", sorted(environment_names()))
def test_every_variable_is_explained(name: str) -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    assert re.search(rf"^(# )?{name}=", example, re.MULTILINE), ".env.example"
    assert f"`{name}`" in GUIDE, "docs/configuration.md"


def test_the_decisions_are_numbered_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    records = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [name[:4] for name in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    listed = re.findall(
        r"^- \[(\d{4} .*)\]\((.*)\)$", (folder / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert [target for _, target in listed] == records
    for title, target in listed:
        assert (folder / target).read_text("utf-8").startswith(f"# {title}\n"), target


def test_links_between_documents_lead_somewhere() -> None:
    for source in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", source.read_text("utf-8")):
            path = (source.parent / target[0]) if target[0] else source
            assert path.exists(), (source.name, target)
            if target[1]:
                assert target[1] in headings(path), (source.name, target)


def headings(path: Path) -> set[str]:
    """As anchors of rendered Markdown."""
    titles = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
