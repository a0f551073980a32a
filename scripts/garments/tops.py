"""Shapes worn above the waist: T-shirt, shirt, sweater, hoodie, jacket and coat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from scripts.garments.geometry import Pair, Points, Sketch, arc, ellipse, flipped, mirrored, outline, rounded

TOP = -0.72


@dataclass(frozen=True)
class Cut:
    """The measures of a torso, in garment coordinates."""

    neck: float
    neck_depth: float
    shoulder: float
    chest: float
    hem: float
    hem_y: float


def torso(cut: Cut, round_hem: float = 0.0) -> Points:
    """Neckline, shoulder, armpit, side and hem."""
    return mirrored(
        [
            (0.0, TOP + cut.neck_depth),
            (cut.neck * 0.75, TOP + cut.neck_depth * 0.75),
            (cut.neck, TOP),
            (cut.neck, TOP),
            (cut.shoulder, TOP + 0.11),
            (cut.shoulder, TOP + 0.11),
            (cut.chest, TOP + 0.46),
            (cut.hem, cut.hem_y),
            (cut.hem, cut.hem_y),
            (cut.hem * 0.5, cut.hem_y + round_hem),
        ]
    )


@dataclass(frozen=True)
class Arm:
    """A sleeve on the right: where it starts, where it points, its length and its widths."""

    cut: Cut
    angle_deg: float
    length: float
    cuff: float

    def at(self, along: float, across: float) -> Pair:
        """The point at `along` (0 shoulder, 1 cuff) and `across` (0 outside, 1 inside)."""
        angle = math.radians(self.angle_deg)
        x0, y0 = self.cut.shoulder - 0.05, TOP + 0.085
        step, width = along * self.length, across * self.cuff
        x = x0 + math.sin(angle) * step - math.cos(angle) * width
        return x, y0 + math.cos(angle) * step + math.sin(angle) * width

    def outline(self) -> Points:
        armpit = (self.cut.chest - 0.04, TOP + 0.47)
        start, outer, inner = self.at(0, 0), self.at(1, 0), self.at(1, 1)
        return rounded([start, self.at(0.35, -0.12), outer, outer, inner, inner, armpit, armpit])

    def band(self, start: float) -> Points:
        """The cuff, from `start` along the sleeve to its end."""
        return outline([self.at(start, 0), self.at(1, 0), self.at(1, 1), self.at(start, 1.05)])


def add_arms(sketch: Sketch, arm: Arm, band: float = 0.0) -> None:
    """Both sleeves, with cuffs where `band` is their length."""
    shape = arm.outline()
    sketch.cloth += [shape, flipped(shape)]
    if band:
        cuff = arm.band(1 - band)
        sketch.area(cuff, "rib")
        sketch.area(flipped(cuff), "rib")


def long_arm(rng: Random, cut: Cut, cuff: float = 0.19) -> Arm:
    return Arm(cut, rng.uniform(12, 30), rng.uniform(1.02, 1.2), cuff * rng.uniform(0.9, 1.1))


def short_arm(rng: Random, cut: Cut) -> Arm:
    return Arm(cut, rng.uniform(38, 58), rng.uniform(0.36, 0.48), rng.uniform(0.29, 0.35))


def hem_band(cut: Cut, depth: float) -> Points:
    return outline(
        [
            (-cut.hem, cut.hem_y - depth),
            (cut.hem, cut.hem_y - depth),
            (cut.hem * 0.98, cut.hem_y + 0.02),
            (-cut.hem * 0.98, cut.hem_y + 0.02),
        ]
    )


def t_shirt(rng: Random) -> Sketch:
    deep = rng.choice((0.14, 0.18, 0.3))
    cut = Cut(rng.uniform(0.17, 0.22), deep, 0.44, 0.42, rng.uniform(0.4, 0.46), rng.uniform(0.62, 0.8))
    sketch = Sketch()
    add_arms(sketch, short_arm(rng, cut))
    sketch.cloth.append(torso(cut))
    sketch.under(
        mirrored([(0, TOP - 0.02), (cut.neck, TOP), (cut.neck * 0.7, TOP + deep * 0.9), (0, TOP + deep)]),
        "lining",
    )
    neckline = [(-cut.neck, TOP), (-cut.neck * 0.7, TOP + deep * 0.72), (0, TOP + deep * 0.95)]
    sketch.line([*neckline, (cut.neck * 0.7, TOP + deep * 0.72), (cut.neck, TOP)], "rib", 0.05)
    return sketch


def shirt(rng: Random, sleeve: str | None) -> Sketch:
    cut = Cut(0.16, 0.16, 0.43, 0.41, rng.uniform(0.4, 0.46), rng.uniform(0.66, 0.8))
    sketch = Sketch()
    add_arms(sketch, short_arm(rng, cut) if sleeve == "short" else long_arm(rng, cut), 0.1)
    sketch.cloth.append(torso(cut, round_hem=0.1))
    sketch.under(ellipse(0, TOP + 0.02, 0.17, 0.09), "lining")
    flap = outline([(0.0, TOP + 0.16), (0.12, TOP - 0.07), (0.22, TOP + 0.04), (0.2, TOP + 0.3)])
    sketch.area(flap, "pale")
    sketch.area(flipped(flap), "pale")
    sketch.line([(-0.05, TOP + 0.2), (-0.05, cut.hem_y + 0.06)])
    sketch.line([(0.05, TOP + 0.2), (0.05, cut.hem_y + 0.06)])
    for i in range(6):
        sketch.dot(0, TOP + 0.28 + i * (cut.hem_y - TOP - 0.34) / 5.5)
    if rng.random() < 0.6:
        sketch.line([(0.15, -0.3), (0.33, -0.3), (0.33, -0.08), (0.24, -0.03), (0.15, -0.08), (0.15, -0.3)])
    return sketch


def sweater(rng: Random) -> Sketch:
    cut = Cut(0.18, 0.14, 0.46, 0.45, rng.uniform(0.42, 0.48), rng.uniform(0.58, 0.72))
    sketch = Sketch()
    add_arms(sketch, long_arm(rng, cut, 0.22), 0.13)
    sketch.cloth.append(torso(cut))
    sketch.area(hem_band(cut, 0.14), "rib")
    for i in range(-4, 5):
        x = i * cut.hem / 4.6
        sketch.line([(x, cut.hem_y - 0.13), (x, cut.hem_y + 0.01)], width=0.012)
    if rng.random() < 0.4:
        sketch.area(
            outline([(-0.19, TOP - 0.16), (0.19, TOP - 0.16), (0.2, TOP + 0.1), (-0.2, TOP + 0.1)]), "rib"
        )
        sketch.line([(-0.19, TOP - 0.03), (0.19, TOP - 0.03)])
        return sketch
    sketch.under(ellipse(0, TOP + 0.02, 0.18, 0.1), "lining")
    sketch.line(arc((0, TOP), (0.2, 0.15), 180, 0), "rib", 0.09)
    return sketch


def hoodie(rng: Random) -> Sketch:
    cut = Cut(0.2, 0.16, 0.46, 0.45, rng.uniform(0.42, 0.48), rng.uniform(0.62, 0.74))
    sketch = Sketch()
    add_arms(sketch, long_arm(rng, cut, 0.22), 0.1)
    high = rng.uniform(0.24, 0.32)
    hood = mirrored(
        [(0, TOP - high), (0.22, TOP - high * 0.9), (0.33, TOP), (0.24, TOP + 0.2), (0, TOP + 0.3)]
    )
    sketch.cloth += [torso(cut), hood]
    sketch.area(
        mirrored([(0, TOP - high * 0.55), (0.17, TOP - high * 0.3), (0.17, TOP + 0.06), (0, TOP + 0.2)]),
        "lining",
    )
    sketch.area(hem_band(cut, 0.1), "rib")
    pocket = [(-0.2, 0.1), (0.2, 0.1), (0.32, 0.36), (0.32, 0.5), (-0.32, 0.5), (-0.32, 0.36)]
    sketch.area(outline(pocket), "shade")
    sketch.line([*pocket, pocket[0]])
    for side in (-1, 1):
        sketch.line([(side * 0.08, TOP + 0.22), (side * 0.1, TOP + rng.uniform(0.5, 0.62))], "cord", 0.03)
    return sketch


def jacket(rng: Random) -> Sketch:
    cut = Cut(0.18, 0.12, 0.47, 0.46, rng.uniform(0.43, 0.48), rng.uniform(0.5, 0.64))
    sketch = Sketch()
    add_arms(sketch, long_arm(rng, cut, 0.23), 0.09)
    sketch.cloth.append(torso(cut))
    gap, low = rng.uniform(0.1, 0.17), cut.hem_y + 0.02
    sketch.area(
        outline([(-gap, TOP + 0.02), (gap, TOP + 0.02), (gap * 0.75, low), (-gap * 0.75, low)]), "inner"
    )
    band = hem_band(cut, 0.11)
    sketch.area(
        outline([tuple(band[0]), (-gap * 0.8, band[0][1]), (-gap * 0.75, low), tuple(band[3])]), "rib"
    )
    sketch.area(outline([(gap * 0.8, band[1][1]), tuple(band[1]), tuple(band[2]), (gap * 0.75, low)]), "rib")
    collar = outline([(gap, TOP + 0.22), (gap * 0.7, TOP - 0.12), (0.22, TOP - 0.1), (0.26, TOP + 0.08)])
    for side in (1.0, -1.0):
        sketch.area(collar if side > 0 else flipped(collar), "rib")
        sketch.line([(side * gap, TOP + 0.1), (side * gap * 0.75, low)], "metal", 0.035)
        sketch.line([(side * 0.24, 0.12), (side * 0.34, 0.34)], "seam", 0.035)
    return sketch


def coat(rng: Random) -> Sketch:
    cut = Cut(0.15, 0.1, 0.36, 0.35, rng.uniform(0.42, 0.54), rng.uniform(0.9, 0.98))
    sketch = Sketch()
    add_arms(sketch, Arm(cut, rng.uniform(8, 20), rng.uniform(0.95, 1.05), 0.18), 0.1)
    sketch.cloth.append(torso(cut))
    sketch.under(ellipse(0, TOP, 0.15, 0.08), "lining")
    lapel = outline(
        [(0.0, TOP + 0.5), (0.08, TOP - 0.05), (0.2, TOP - 0.02), (0.27, TOP + 0.2), (0.18, TOP + 0.26)]
    )
    sketch.area(lapel, "shade")
    sketch.area(flipped(lapel), "shade")
    sketch.line([(0, TOP + 0.48), (0.02, cut.hem_y)], "seam", 0.025)
    belted = rng.random() < 0.5
    for i in range(3):
        for side in (-0.12, 0.12):
            sketch.dot(side, -0.08 + i * 0.24, width=0.06)
    if belted:
        sketch.area(outline([(-0.37, 0.02), (0.37, 0.02), (0.38, 0.11), (-0.38, 0.11)]), "rib")
        sketch.area(outline([(-0.06, 0.0), (0.06, 0.0), (0.06, 0.13), (-0.06, 0.13)]), "metal")
    for side in (-1, 1):
        sketch.line([(side * 0.22, 0.36), (side * 0.38, 0.32)], "seam", 0.035)
    return sketch
