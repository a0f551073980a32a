"""Draw garments: single pictures with their captions, a contact sheet, or the demo shop's catalogue."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

from PIL import Image
from rich.console import Console

from scripts.garments.captions import caption
from scripts.garments.catalogue import write_catalogue
from scripts.garments.picture import draw, random_look
from scripts.garments.vocabulary import COLOURS, KINDS, PATTERNS

console = Console()


def write_pictures(out: Path, seed: int, count: int, side_px: int) -> None:
    """`count` PNG files and captions.jsonl with what each shows."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "captions.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            rng = Random(f"pictures:{seed}:{number}")
            look = random_look(rng)
            name = f"{number:05d}.png"
            draw(look, rng, (side_px, side_px)).save(out / name)
            file.write(
                json.dumps({"file": name, "caption": caption(rng, look).text, **look.attributes()}) + "\n"
            )
    console.print(f"{count} pictures in {out}")


def write_sheet(out: Path, seed: int, side_px: int) -> None:
    """sheet.png: a row for each kind, a column for each colour, the patterns in turn."""
    out.mkdir(parents=True, exist_ok=True)
    sheet = Image.new("RGB", (len(COLOURS) * side_px, len(KINDS) * side_px))
    for row, kind in enumerate(KINDS):
        for column, colour in enumerate(COLOURS):
            rng = Random(f"sheet:{seed}:{row}:{column}")
            look = random_look(rng, kind, colour, PATTERNS[(row + column) % len(PATTERNS)])
            sheet.paste(draw(look, rng, (side_px, side_px)), (column * side_px, row * side_px))
    sheet.save(out / "sheet.png")
    console.print(f"{out / 'sheet.png'}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.draw_garments", description=__doc__)
    parser.add_argument("what", choices=("pictures", "sheet", "catalogue"))
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same files")
    parser.add_argument("--count", type=int, default=100, help="pictures: how many")
    parser.add_argument(
        "--side-px", type=int, default=128, help="pictures and sheet: width and height of each"
    )
    args = parser.parse_args()
    if args.what == "pictures":
        write_pictures(args.out, args.seed, args.count, args.side_px)
    elif args.what == "sheet":
        write_sheet(args.out, args.seed, args.side_px)
    else:
        console.print(f"{write_catalogue(args.out, args.seed)} photos in {args.out / 'photos'}")


if __name__ == "__main__":
    main()
