"""Recommendations as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from scripts.console import out


def print_answers(answers: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """``answers``: prompts with the service's JSON."""
    for prompt, answer in answers:
        table = Table(title=f"“{prompt}”", title_justify="left", title_style="bold", min_width=72)
        for heading in ("rank", "score", "name", "category", "style"):
            table.add_column(heading, justify="right" if heading in {"rank", "score"} else "left")
        for hit in answer["recommendations"]:
            cells = [hit["name"], hit["category_name"] or "", hit["style_name"] or ""]
            table.add_row(str(hit["rank"]), f"{hit['score']:.3f}", *cells)
        out.print(table)
    if answers:
        out.print(f"Model: {answers[0][1]['model']}", markup=False)
