"""/activate/: the page that a mailed link opens. It is static: looking at it uses nothing up."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from serve_app.static_page import StaticPage

router = APIRouter(include_in_schema=False)
PAGES = Path(__file__).parents[1] / "pages"


@cache
def _page() -> StaticPage:
    return StaticPage.read(PAGES, "activate")


@router.head("/activate/")
@router.get("/activate/")
async def activation_page() -> Response:
    """The token stands after the # of the address, which browsers do not send."""
    page = _page()
    return HTMLResponse(page.html, headers=page.headers)
