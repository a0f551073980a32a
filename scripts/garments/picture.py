"""One drawing: a look, a seed and a size in, a picture out. The same three give the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from scripts.garments import accessories, bottoms, tops
from scripts.garments.colours import RGB, colour_of, distance, mixed, tones
from scripts.garments.geometry import Mark, Points, Pose, Sketch, random_pose
from scripts.garments.patterns import PRINTERS, Cloth
from scripts.garments.vocabulary import COLOURS, KINDS, LENGTHS, PATTERNS, SLEEVES

SHAPES: dict[str, Callable[[Random], Sketch]] = {
    "t-shirt": tops.t_shirt,
    "sweater": tops.sweater,
    "hoodie": tops.hoodie,
    "jacket": tops.jacket,
    "coat": tops.coat,
    "trousers": bottoms.trousers,
    "shorts": bottoms.shorts,
    "shoes": accessories.shoes,
    "boots": accessories.boots,
    "bag": accessories.bag,
    "hat": accessories.hat,
    "scarf": accessories.scarf,
    "tie": bottoms.tie,
}


@dataclass(frozen=True)
class Look:
    """What a drawing shows, in the canonical words of `vocabulary`."""

    kind: str
    colour: str
    pattern: str
    sleeve: str | None = None
    length: str | None = None

    def attributes(self) -> dict[str, str]:
        """The attributes by name, those that the kind does not have left out."""
        return {name: value for name, value in vars(self).items() if value is not None}


def random_look(rng: Random, kind: str = "", colour: str = "", pattern: str = "") -> Look:
    """A look with what is given, the rest drawn by lot."""
    kind = kind or rng.choice(KINDS)
    sleeve = rng.choice(SLEEVES[kind]) if kind in SLEEVES else None
    length = rng.choice(LENGTHS[kind]) if kind in LENGTHS else None
    return Look(kind, colour or rng.choice(COLOURS), pattern or rng.choice(PATTERNS), sleeve, length)


def sketch_of(look: Look, rng: Random) -> Sketch:
    """The garment's shape, its measures by lot."""
    if look.kind == "dress":
        return bottoms.dress(rng, look.sleeve, look.length)
    if look.kind == "shirt":
        return tops.shirt(rng, look.sleeve)
    if look.kind == "skirt":
        return bottoms.skirt(rng, look.length)
    return SHAPES[look.kind](rng)


class Easel:
    """A canvas with garment coordinates: (0, 0) is its middle, 1 half its shorter side."""

    def __init__(self, image: Image.Image, pose: Pose) -> None:
        self.image, self.pose = image, pose
        self.draw = ImageDraw.Draw(image)
        self.unit_px = min(image.size) / 2

    def place(self, points: Points) -> list[tuple[float, float]]:
        width, height = self.image.size
        placed = self.pose(points) * self.unit_px + np.array([width / 2, height / 2], np.float32)
        return [(x, y) for x, y in placed.tolist()]

    def thickness(self, width: float) -> int:
        return max(1, round(width * self.unit_px))

    def mark(self, mark: Mark, colour: RGB) -> None:
        spots = self.place(mark.points)
        if mark.form == "area":
            self.draw.polygon(spots, fill=colour)
        elif mark.form == "line":
            self.draw.line(spots, fill=colour, width=self.thickness(mark.width), joint="curve")
        else:
            (x, y), radius = spots[0], mark.width * self.unit_px / 2
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def backdrop(rng: Random, size: tuple[int, int], base: RGB) -> Image.Image:
    """A wall, sometimes with a floor, in a colour that the garment stands out from."""
    while True:
        if rng.random() < 0.7:
            level = rng.randint(196, 252)
            wall: RGB = (level, level + rng.randint(-8, 3), level + rng.randint(-14, 3))
        else:
            wall = mixed(colour_of(rng, rng.choice(COLOURS)), (236, 234, 230), rng.uniform(0.45, 0.85))
        if distance(wall, base) > 55:
            break
    image = Image.new("RGB", size, wall)
    if rng.random() < 0.4:
        floor = round(size[1] * rng.uniform(0.66, 0.88))
        tint: RGB = (90, 70, 60) if rng.random() < 0.5 else (255, 255, 255)
        image.paste(mixed(wall, tint, rng.uniform(0.08, 0.22)), (0, floor, *size))
    return image


def paint(easel: Easel, sketch: Sketch, cloth: Image.Image, palette: dict[str, RGB], edge: float) -> None:
    """Behind, cloth, edges and details, in this order."""
    for mark in sketch.behind:
        easel.mark(mark, palette[mark.tone])
    mask = Image.new("1", easel.image.size)
    cut = ImageDraw.Draw(mask)
    for shape in sketch.cloth:
        corners = easel.place(shape)
        cut.polygon(corners, fill=1)
    easel.image.paste(cloth, (0, 0), mask)
    for shape in sketch.cloth:
        corners = easel.place(shape)
        easel.draw.line(
            [*corners, corners[0]], fill=palette["edge"], width=easel.thickness(edge), joint="curve"
        )
    for mark in sketch.front:
        easel.mark(mark, palette[mark.tone])


def lit(rng: Random, image: Image.Image) -> Image.Image:
    """The picture with light that falls from one side and a camera's exposure."""
    width, height = image.size
    across, down, level = rng.gauss(0, 0.05), rng.gauss(0, 0.05), rng.uniform(0.95, 1.05)
    rows = np.linspace(-down, down, height, dtype=np.float32)[:, None, None]
    columns = np.linspace(-across, across, width, dtype=np.float32)[None, :, None]
    light = np.asarray(image, np.float32) * (level + rows + columns)
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))


def draw(look: Look, rng: Random, size: tuple[int, int], oversampling: int = 2) -> Image.Image:
    """An RGB picture of `size` (width, height); the garment keeps to the central square."""
    large = (size[0] * oversampling, size[1] * oversampling)
    base = colour_of(rng, look.colour)
    palette = tones(rng, base)
    sketch = sketch_of(look, rng)
    easel = Easel(backdrop(rng, large, base), random_pose(rng))
    cloth = Cloth(large, easel.unit_px, base)
    PRINTERS[look.pattern](rng, cloth, sketch.texture_scale)
    paint(easel, sketch, cloth.image, palette, rng.uniform(0.012, 0.024))
    return lit(rng, easel.image.reduce(oversampling))
