"""Where the keys of a YAML file stand."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from serve_app.config_mistakes import Mistake, Place


class Lines:
    """Of the text of one document that can be read."""

    def __init__(self, text: str) -> None:
        self.repeated: list[Mistake] = []
        self._lines: dict[Place, int] = {}
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        for place, line in _keys(root, ()) if root is not None else ():
            if place in self._lines:
                message = (
                    f"stands in line {self._lines[place]} already, and only the last counts. Remove one."
                )
                self.repeated.append(Mistake(place, message))
            self._lines[place] = line

    def of(self, place: Place) -> int:
        """That of the key, or of the nearest one around it that the file has; 1 where it has none."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)


def _keys(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*place, str(key.value))
            yield below, key.start_mark.line + 1
            yield from _keys(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*place, number), value.start_mark.line + 1
            yield from _keys(value, (*place, number))
