"""Values set in the text of a YAML file, which keeps its comments and its order.

A place is a path of keys; a list's item is named by its number or, where it is a mapping, by its ``name``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

Place = tuple[str | int, ...]


def value_at(document: Any, place: Place, default: Any = None) -> Any:
    """``default`` where the document has no such place, or null there."""
    for part in place:
        document = _item(document, part)
        if document is None:
            return default
    return document


def with_values(text: str, values: Mapping[Place, Any], comments: Mapping[Place, str] | None = None) -> str:
    """``comments``: each on a line of its own above its place, which must exist then or be one of ``values``.

    Raises KeyError where a place leads through a list that has no such item.
    """
    for place, value in values.items():
        text = _with_value(text, place, value)
    for place, comment in (comments or {}).items():
        start = _deepest(text, place)[0].start_mark
        line = text.rfind("\n", 0, start.index) + 1
        indent = text[line:].split("\n", 1)[0]
        indent = indent[: len(indent) - len(indent.lstrip(" "))]
        text = f"{text[:line]}{indent}# {comment}\n{text[line:]}"
    return text


def _item(document: Any, part: str | int) -> Any:
    if isinstance(document, dict):
        return document.get(part)
    if isinstance(document, list) and isinstance(part, str):
        return next((one for one in document if isinstance(one, dict) and one.get("name") == part), None)
    return document[part] if isinstance(document, list) and isinstance(part, int) else None


def _with_value(text: str, place: Place, value: Any) -> str:
    node, missing = _deepest(text, place)
    if not missing:
        return text[: node.start_mark.index] + _flow(value) + text[node.end_mark.index :]
    for part in reversed(missing[1:]):
        value = {part: value}
    if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~"):
        new = f" {_flow({missing[0]: value})}"
        return text[: node.start_mark.index] + new + text[node.end_mark.index :]
    if not isinstance(node, yaml.MappingNode):
        raise KeyError(missing[0])
    entry = f"{missing[0]}: {_flow(value)}"
    if node.flow_style:
        before = ", " if node.value else ""
        return text[: node.end_mark.index - 1] + before + entry + text[node.end_mark.index - 1 :]
    indent = "\n" + " " * node.start_mark.column
    for _, own in node.value:
        if isinstance(own, yaml.ScalarNode) or own.flow_style:
            end = text.find("\n", own.end_mark.index)
            end = len(text) if end < 0 else end
            return text[:end] + indent + entry + text[end:]
    return text[: node.start_mark.index] + entry + indent + text[node.start_mark.index :]


def _deepest(text: str, place: Place) -> tuple[yaml.Node, Place]:
    """The last node on the way that exists, and what of the way is left."""
    node = yaml.compose(text)
    assert node is not None, "a config that was read"
    for number, part in enumerate(place):
        inner = _inner(node, part)
        if inner is None:
            return node, place[number:]
        node = inner
    return node, ()


def _inner(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((own for key, own in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, str):
        return next((own for own in node.value if _name(own) == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        found: yaml.Node = node.value[part]
        return found
    return None


def _name(node: yaml.Node) -> str | None:
    name = _inner(node, "name") if isinstance(node, yaml.MappingNode) else None
    return name.value if isinstance(name, yaml.ScalarNode) else None


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
