"""What is printed on the cloth. Lengths are in garment coordinates; a square frame is 2 wide."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw

from scripts.garments.colours import FLOWERS, RGB, brightness, contrast_of, distance, mixed

Size = tuple[int, int]


class Cloth:
    """A sheet of cloth to print on: `unit_px` pixels are one unit of garment coordinates."""

    def __init__(self, size: Size, unit_px: float, base: RGB) -> None:
        self.image = Image.new("RGB", size, base)
        self.draw = ImageDraw.Draw(self.image)
        self.size, self.unit_px, self.base = size, unit_px, base

    def bars(self, spacing: float, width: float, angle_deg: float, start: float, colour: RGB) -> None:
        """Parallel bars across the sheet; an angle of 0° is horizontal."""
        step, reach = spacing * self.unit_px, math.hypot(*self.size)
        angle = math.radians(angle_deg)
        cos, sin = math.cos(angle), math.sin(angle)
        middle_x, middle_y = self.size[0] / 2, self.size[1] / 2
        half = width * self.unit_px / 2
        count = int(reach / step / 2) + 2
        for i in range(-count, count + 1):
            off = (i + start) * step
            corners = [(-reach, off - half), (reach, off - half), (reach, off + half), (-reach, off + half)]
            turned = [(middle_x + x * cos - y * sin, middle_y + x * sin + y * cos) for x, y in corners]
            self.draw.polygon(turned, fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: RGB) -> None:
        self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def plain(rng: Random, cloth: Cloth, scale: float) -> None:
    """Nothing is printed."""


def striped(rng: Random, cloth: Cloth, scale: float) -> None:
    spacing = rng.uniform(0.2, 0.36) * scale
    angle = rng.choice((0.0, 0.0, 90.0, 45.0, -45.0)) + rng.gauss(0, 3)
    start, colour = rng.random(), contrast_of(rng, cloth.base)
    cloth.bars(spacing, spacing * rng.uniform(0.3, 0.44), angle, start, colour)


def checked(rng: Random, cloth: Cloth, scale: float) -> None:
    spacing = rng.uniform(0.26, 0.4) * scale
    width, angle = spacing * rng.uniform(0.28, 0.4), rng.choice((0.0, 0.0, 0.0, 45.0)) + rng.gauss(0, 3)
    colour = contrast_of(rng, cloth.base)
    start, other = rng.random(), rng.random()
    cloth.bars(spacing, width, angle, start, mixed(cloth.base, colour, 0.55))
    across = Cloth(cloth.size, cloth.unit_px, (0, 0, 0))
    across.bars(spacing, width, angle + 90, other, (255, 255, 255))
    printed = Image.blend(cloth.image, Image.new("RGB", cloth.size, colour), 0.6)
    cloth.image.paste(printed, (0, 0), across.image.convert("L"))
    if rng.random() < 0.4:
        cloth.bars(spacing, spacing * 0.06, angle, start + 0.5, mixed(cloth.base, colour, 0.8))


def dotted(rng: Random, cloth: Cloth, scale: float) -> None:
    spacing = rng.uniform(0.24, 0.36) * scale * cloth.unit_px
    radius = spacing * rng.uniform(0.22, 0.3)
    colour = contrast_of(rng, cloth.base)
    x0, y0 = rng.random() * spacing, rng.random() * spacing
    for row in range(-1, int(cloth.size[1] / spacing) + 2):
        shift = spacing / 2 if row % 2 else 0.0
        for column in range(-1, int(cloth.size[0] / spacing) + 2):
            cloth.disc(x0 + shift + column * spacing, y0 + row * spacing, radius, colour)


def zigzag(rng: Random, cloth: Cloth, scale: float) -> None:
    spacing = rng.uniform(0.26, 0.38) * scale * cloth.unit_px
    tooth, high = (
        rng.uniform(0.13, 0.18) * scale * cloth.unit_px,
        rng.uniform(0.13, 0.2) * scale * cloth.unit_px,
    )
    width = max(2, round(spacing * rng.uniform(0.25, 0.34)))
    colour, start = contrast_of(rng, cloth.base), rng.random() * spacing
    teeth = range(-1, int(cloth.size[0] / tooth) + 3)
    for row in range(-2, int(cloth.size[1] / spacing) + 2):
        y = start + row * spacing
        cloth.draw.line([(i * tooth, y + (i % 2) * high) for i in teeth], fill=colour, width=width)


def floral(rng: Random, cloth: Cloth, scale: float) -> None:
    shown = [flower for flower in FLOWERS if distance(flower, cloth.base) > 120]
    shown = [flower for flower in shown if abs(brightness(flower) - brightness(cloth.base)) > 25] or shown
    colours = rng.sample(shown, min(len(shown), rng.choice((1, 2, 2))))
    spacing = rng.uniform(0.3, 0.42) * scale * cloth.unit_px
    leaf: RGB = (58, 120, 62) if distance((58, 120, 62), cloth.base) > 90 else (150, 200, 130)
    for row in range(-1, int(cloth.size[1] / spacing) + 2):
        for column in range(-1, int(cloth.size[0] / spacing) + 2):
            x = (column + rng.uniform(-0.2, 0.2) + (0.5 if row % 2 else 0.0)) * spacing
            y = (row + rng.uniform(-0.2, 0.2)) * spacing
            flower(rng, cloth, (x, y, spacing * rng.uniform(0.26, 0.36)), (rng.choice(colours), leaf))


def flower(rng: Random, cloth: Cloth, place: tuple[float, float, float], colours: tuple[RGB, RGB]) -> None:
    """Five petals round a centre, and a leaf; `place` is x, y and the radius in pixels."""
    x, y, radius = place
    petal, leaf = colours
    turn = rng.random() * math.tau
    reach = radius * 1.45
    cos, sin = math.cos(turn), math.sin(turn)
    tip = (x + cos * reach, y + sin * reach)
    wide = radius * 0.42
    side = (x + cos * reach * 0.7 - sin * wide, y + sin * reach * 0.7 + cos * wide)
    other = (x + cos * reach * 0.7 + sin * wide, y + sin * reach * 0.7 - cos * wide)
    cloth.draw.polygon([(x, y), side, tip, other], fill=leaf)
    for i in range(5):
        angle = turn + 0.6 + i * math.tau / 5
        cloth.disc(
            x + math.cos(angle) * radius * 0.6, y + math.sin(angle) * radius * 0.6, radius * 0.46, petal
        )
    heart: RGB = (250, 205, 70) if distance(petal, (250, 205, 70)) > 90 else (150, 80, 40)
    cloth.disc(x, y, radius * 0.36, heart)


PRINTERS: dict[str, Callable[[Random, Cloth, float], None]] = {
    "plain": plain,
    "striped": striped,
    "dotted": dotted,
    "checked": checked,
    "floral": floral,
    "zigzag": zigzag,
}
