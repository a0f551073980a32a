"""Descriptions in HTML as plain text, in time that grows with their length only."""

from __future__ import annotations

import html
import re

MAX_HTML_CHARS = 200_000  # forty times a description
_MARKUP = re.compile(r"<!--|</?([a-zA-Z][a-zA-Z0-9]*)[^<>]*>")
_HIDDEN = {"script", "style", "template", "noscript"}
_BLOCKS = {
    *(
        "address",
        "article",
        "blockquote",
        "br",
        "dd",
        "div",
        "dl",
        "dt",
        "figure",
        "footer",
        "h1",
        "h2",
        "h3",
    ),
    *("h4", "h5", "h6", "header", "hr", "li", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"),
}


def has_markup(text: str) -> bool:
    """Whether there is a tag in it, or a character reference."""
    return ("<" in text and _MARKUP.search(text) is not None) or "&amp;" in text or "&nbsp;" in text


def plain_text(markup: str) -> str:
    """What a reader of the page sees; each block on a line of its own."""
    markup = markup[:MAX_HTML_CHARS]
    parts: list[str] = []
    at, hidden = 0, ""
    while found := _MARKUP.search(markup, at):
        if not hidden:
            parts.append(_one_line(markup[at : found.start()]))
        name = (found[1] or "").lower()
        at = found.end() if name else _end_of_comment(markup, found.end())
        closes = found[0].startswith("</")
        if hidden:
            hidden = "" if closes and name == hidden else hidden
        elif name in _HIDDEN and not closes:
            hidden = name
        elif name in _BLOCKS:
            parts.append("\n")
    if not hidden:
        parts.append(_one_line(markup[at:]))
    lines = (" ".join(html.unescape(line).split()) for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def _end_of_comment(markup: str, at: int) -> int:
    end = markup.find("-->", at)
    return len(markup) if end < 0 else end + 3
