"""Pages that are one file each: style and script are part of them, and nothing else may run or be loaded."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class StaticPage:
    """The page and the headers that hold the browser to it."""

    html: str
    headers: dict[str, str]

    @classmethod
    def read(cls, folder: Path, name: str) -> Self:
        """NAME.html with NAME.css and NAME.js in the places that it marks."""
        style, script = ((folder / f"{name}.{kind}").read_text("utf-8") for kind in ("css", "js"))
        html = (folder / f"{name}.html").read_text("utf-8")
        html = html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
        policy = (
            f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )
        return cls(html, _headers(policy))


def _headers(policy: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }


def _hash(text: str) -> str:
    """As Content-Security-Policy names an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
