"""One PNG with a row of photos per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw, ImageFont, ImageOps

CELL_PX = (180, 225)
GAP_PX = 12
TITLE_PX = 30
CAPTION_PX = 22
INK = (40, 40, 40)


def write_contact_sheet(
    client: httpx.Client, answers: Sequence[tuple[str, dict[str, Any]]], path: Path
) -> None:
    """Fetch the recommended photos through their signed addresses and lay them out."""
    columns = max(len(answer["recommendations"]) for _, answer in answers)
    row_px = TITLE_PX + CELL_PX[1] + CAPTION_PX + GAP_PX
    width = GAP_PX + columns * (CELL_PX[0] + GAP_PX)
    sheet = Image.new("RGB", (width, GAP_PX + row_px * len(answers)), "white")
    draw = ImageDraw.Draw(sheet)
    title, small = ImageFont.load_default(18), ImageFont.load_default(13)
    for number, (prompt, answer) in enumerate(answers):
        top = GAP_PX + number * row_px
        draw.text((GAP_PX, top), prompt, INK, title)
        for hit in answer["recommendations"]:
            left = GAP_PX + (hit["rank"] - 1) * (CELL_PX[0] + GAP_PX)
            sheet.paste(_photo(client, hit["Photo"]), (left, top + TITLE_PX))
            caption = f"{hit['score']:.3f}  {hit['name']}"
            draw.text((left, top + TITLE_PX + CELL_PX[1] + 2), _fitting(caption, small), INK, small)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _photo(client: httpx.Client, address: str) -> Image.Image:
    answer = client.get(address)
    answer.raise_for_status()
    with Image.open(BytesIO(answer.content)) as photo:
        return ImageOps.pad(photo.convert("RGB"), CELL_PX, color="white")


def _fitting(text: str, font: Any) -> str:
    while font.getlength(text) > CELL_PX[0]:
        text = text[:-2] + "…"
    return text
