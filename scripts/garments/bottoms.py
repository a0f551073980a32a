"""Shapes worn from the waist down, and the dress."""

from __future__ import annotations

from random import Random

from scripts.garments.geometry import Points, Sketch, ellipse, flipped, mirrored, outline, rounded
from scripts.garments.tops import TOP, Arm, Cut, add_arms

HEM_Y = {"mini": 0.3, "midi": 0.62, "maxi": 0.95}


def dress(rng: Random, sleeve: str | None, length: str | None) -> Sketch:
    waist, waist_y = rng.uniform(0.19, 0.25), rng.uniform(-0.16, -0.04)
    hem_y = HEM_Y[length or "midi"] + rng.uniform(-0.06, 0.04)
    hem = rng.uniform(0.42, 0.56) + (0.1 if length == "maxi" else 0.0)
    cut = Cut(0.16, rng.choice((0.14, 0.24)), 0.31, 0.28, hem, hem_y)
    sketch = Sketch()
    if sleeve == "short":
        add_arms(sketch, Arm(cut, rng.uniform(30, 50), rng.uniform(0.28, 0.36), 0.22))
    elif sleeve == "long":
        add_arms(sketch, Arm(cut, rng.uniform(14, 30), rng.uniform(0.88, 1.0), 0.14))
    neck_x, side_x = (0.14, 0.26) if sleeve != "sleeveless" else (0.15, 0.2)
    sketch.cloth.append(
        mirrored(
            [
                (0, TOP + cut.neck_depth),
                (neck_x * 0.9, TOP + cut.neck_depth * 0.8),
                (neck_x, TOP),
                (neck_x, TOP),
                (side_x, TOP + 0.04),
                (0.28, TOP + 0.3),
                (waist, waist_y),
                (waist, waist_y),
                (hem * 0.72, (waist_y + hem_y) / 2),
                (hem, hem_y),
                (hem, hem_y),
                (hem * 0.5, hem_y + 0.06),
            ]
        )
    )
    sketch.line([(-waist, waist_y), (waist, waist_y)], "rib", rng.uniform(0.03, 0.08))
    folds(sketch, waist, waist_y, hem, hem_y)
    return sketch


def folds(sketch: Sketch, waist: float, waist_y: float, hem: float, hem_y: float) -> None:
    """Lines that fall from the waist to the hem."""
    for part in (-0.62, -0.22, 0.22, 0.62):
        start = (waist * part, waist_y + 0.3 * (hem_y - waist_y))
        sketch.line([start, (hem * part, hem_y - 0.03)], width=0.013)


def skirt(rng: Random, length: str | None) -> Sketch:
    tall = {"mini": 0.85, "midi": 1.2, "maxi": 1.55}[length or "midi"] + rng.uniform(-0.06, 0.06)
    top, waist, hem = -tall / 2, rng.uniform(0.3, 0.36), rng.uniform(0.55, 0.8)
    sketch = Sketch()
    right = [
        (waist, top),
        (waist, top),
        (waist + (hem - waist) * 0.55, 0.0),
        (hem, tall / 2),
        (hem, tall / 2),
    ]
    sketch.cloth.append(mirrored([*right, (hem * 0.5, tall / 2 + 0.07)]))
    sketch.area(
        outline([(-waist, top), (waist, top), (waist + 0.03, top + 0.12), (-waist - 0.03, top + 0.12)]), "rib"
    )
    folds(sketch, waist, top + 0.1, hem, tall / 2)
    return sketch


def leg(waist: float, crotch_y: float, hem_y: float, outer: float, inner: float) -> Points:
    """The right leg, from the waist down."""
    return rounded(
        [
            (0.0, -0.88),
            (0.0, -0.88),
            (waist, -0.88),
            (waist, -0.88),
            (waist + 0.07, crotch_y - 0.2),
            (outer, hem_y),
            (outer, hem_y),
            (inner, hem_y + 0.01),
            (inner, hem_y + 0.01),
            (0.0, crotch_y),
            (0.0, crotch_y),
        ]
    )


def waistband(sketch: Sketch, waist: float) -> None:
    band = outline([(-waist, -0.89), (waist, -0.89), (waist + 0.01, -0.77), (-waist - 0.01, -0.77)])
    sketch.area(band, "rib")
    sketch.line([(0, -0.77), (0, -0.4)], width=0.02)
    sketch.dot(0, -0.83)
    for side in (-1, 1):
        sketch.line([(side * waist * 0.55, -0.77), (side * (waist + 0.04), -0.55)], width=0.02)


def trousers(rng: Random) -> Sketch:
    waist, wide = rng.uniform(0.29, 0.34), rng.uniform(0.16, 0.3)
    outer = rng.uniform(0.36, 0.5)
    right = leg(waist, rng.uniform(-0.3, -0.2), rng.uniform(0.88, 0.95), outer, outer - wide)
    sketch = Sketch(cloth=[right, flipped(right)])
    waistband(sketch, waist)
    for side in (-1, 1):
        sketch.line([(side * (waist * 0.55), -0.4), (side * (outer - wide / 2), 0.85)], width=0.012)
    return sketch


def shorts(rng: Random) -> Sketch:
    waist, outer = rng.uniform(0.42, 0.5), rng.uniform(0.6, 0.7)
    drop = rng.uniform(0.44, 0.52)
    right = leg(waist, -0.16, rng.uniform(0.14, 0.32), outer, rng.uniform(0.05, 0.12))
    sketch = Sketch(cloth=[right, flipped(right)])
    waistband(sketch, waist)
    hem = float(right[:, 1].max())
    for side in (-1, 1):
        sketch.line([(side * 0.1, hem - 0.08), (side * (outer - 0.02), hem - 0.09)], width=0.018)
    return moved_down(sketch, drop / 1.6)


def moved_down(sketch: Sketch, by: float) -> Sketch:
    """The same garment, lower: shapes drawn from the waist are centred so."""
    for shape in [*sketch.cloth, *(mark.points for mark in sketch.front)]:
        shape[:, 1] += by
    return sketch


def tie(rng: Random) -> Sketch:
    wide, tip = rng.uniform(0.22, 0.28), rng.uniform(0.9, 0.96)
    sketch = Sketch(texture_scale=0.72)
    sketch.cloth.append(
        mirrored([(0.09, -0.6), (0.09, -0.6), (wide, tip - 0.25), (wide, tip - 0.25), (0, tip), (0, tip)], 1)
    )
    sketch.cloth.append(mirrored([(0.17, -0.9), (0.17, -0.9), (0.1, -0.58), (0.1, -0.58)], 1))
    loop = rng.uniform(0.3, 0.42)
    sketch.under(ellipse(0, -0.84, loop, 0.13), "shade")
    sketch.under(ellipse(0, -0.85, loop - 0.09, 0.07), "lining")
    return sketch
