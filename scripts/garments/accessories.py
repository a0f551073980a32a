"""Shoes, boots, bags, hats and scarves."""

from __future__ import annotations

from random import Random

from scripts.garments.geometry import Mark, Sketch, arc, ellipse, flipped, mirrored, outline, rounded


def shoes(rng: Random) -> Sketch:
    """A trainer from the side, its toe on the right."""
    ankle, sole = rng.uniform(-0.36, -0.26), rng.uniform(0.1, 0.16)
    sketch = Sketch(texture_scale=0.85)
    upper = [(-0.8, ankle), (-0.8, ankle), (-0.3, ankle + 0.02), (-0.3, ankle + 0.02), (0.0, ankle + 0.24)]
    upper += [(0.45, 0.0), (0.8, 0.1), (0.9, 0.34), (0.86, 0.4), (-0.84, 0.4), (-0.84, 0.4), (-0.78, 0.0)]
    sketch.cloth.append(rounded(upper))
    base = [(-0.9, 0.36), (0.94, 0.36), (0.97, 0.4), (0.9, 0.36 + sole), (-0.86, 0.36 + sole), (-0.92, 0.4)]
    sketch.area(rounded(base), "sole")
    sketch.area(rounded([(0.55, 0.36), (0.6, 0.12), (0.82, 0.12), (0.93, 0.34), (0.9, 0.37)]), "pale")
    sketch.area(
        outline([(-0.8, ankle), (-0.34, ankle + 0.02), (-0.4, ankle + 0.09), (-0.79, ankle + 0.08)]), "lining"
    )
    for i in range(4):
        x, y = -0.2 + i * 0.16, ankle + 0.12 + i * 0.075
        sketch.line([(x - 0.06, y + 0.13), (x + 0.09, y)], "cord", 0.045)
    return sketch


def boots(rng: Random) -> Sketch:
    """A boot from the side, its toe on the right."""
    top, wide, heel = rng.uniform(-0.92, -0.7), rng.uniform(0.4, 0.52), rng.uniform(0.1, 0.22)
    left = -0.5
    sketch = Sketch(texture_scale=0.9)
    shape = [(left, top), (left, top), (left + wide, top + 0.02), (left + wide, top + 0.02)]
    shape += [
        (left + wide, 0.2),
        (0.35, 0.34),
        (0.66, 0.5),
        (0.7, 0.72),
        (0.7, 0.72),
        (left, 0.72),
        (left, 0.72),
    ]
    sketch.cloth.append(rounded(shape))
    sketch.area(outline([(left - 0.02, 0.7), (0.72, 0.7), (0.72, 0.8), (left - 0.02, 0.8)]), "sole")
    sketch.area(
        outline([(left - 0.02, 0.78), (left + 0.32, 0.78), (left + 0.27, 0.78 + heel), (left, 0.78 + heel)]),
        "sole",
    )
    sketch.area(
        outline([(left, top), (left + wide, top + 0.02), (left + wide, top + 0.13), (left, top + 0.11)]),
        "rib",
    )
    sketch.line([(left + wide * 0.55, top + 0.12), (left + wide * 0.55, 0.55)], "metal", 0.025)
    return sketch


def bag(rng: Random) -> Sketch:
    wide, base, top = rng.uniform(0.55, 0.7), rng.uniform(0.6, 0.78), rng.uniform(-0.22, -0.1)
    bottom = rng.uniform(0.66, 0.8)
    sketch = Sketch()
    sketch.cloth.append(mirrored([(wide, top), (wide, top), (base, bottom), (base - 0.05, bottom + 0.06)]))
    reach, high = wide * rng.uniform(0.55, 0.75), rng.uniform(0.5, 0.7)
    sketch.behind.append(
        Mark("line", outline(arc((0, top + 0.05), (reach, high), 180, 360, 16)), "handle", 0.09)
    )
    sketch.area(
        outline([(-wide, top), (wide, top), (wide + 0.01, top + 0.11), (-wide - 0.01, top + 0.11)]), "rib"
    )
    sketch.line([(-wide * 0.95, top + 0.05), (wide * 0.95, top + 0.05)], "metal", 0.02)
    if rng.random() < 0.5:
        sketch.area(
            outline([(-0.09, top + 0.06), (0.09, top + 0.06), (0.09, top + 0.26), (-0.09, top + 0.26)]),
            "metal",
        )
    for side in (-1, 1):
        sketch.dot(side * reach, top + 0.06, "metal", 0.09)
    return sketch


def hat(rng: Random) -> Sketch:
    """A brimmed hat, seen a little from above."""
    crown, high, brim = rng.uniform(0.42, 0.52), rng.uniform(0.62, 0.82), rng.uniform(0.84, 0.96)
    depth = rng.uniform(0.17, 0.26)
    sketch = Sketch(texture_scale=0.9)
    sketch.cloth.append(ellipse(0, 0.32, brim, depth, 28))
    dome = [
        (0, 0.32 - high),
        (crown * 0.6, 0.3 - high),
        (crown * 0.92, 0.0),
        (crown, 0.36),
        (crown, 0.36),
        (crown * 0.5, 0.43),
    ]
    sketch.cloth.append(mirrored(dome))
    y, drop = 0.2, 0.05
    band = [
        (-crown * 0.99, y),
        (0, y + drop),
        (crown * 0.99, y),
        (crown, y + 0.14),
        (0, y + 0.21),
        (-crown, y + 0.14),
    ]
    sketch.area(outline(band), "band")
    return sketch


def scarf(rng: Random) -> Sketch:
    """A scarf worn round a neck, both ends hanging, with fringes."""
    wide, low = rng.uniform(0.3, 0.36), rng.uniform(0.72, 0.84)
    other = rng.uniform(0.45, 0.7)
    sketch = Sketch(texture_scale=0.85)
    hanging = outline([(0.04, -0.42), (0.04 + wide, -0.42), (0.16 + wide, other), (0.16, other)])
    front = outline([(-0.02 - wide, -0.42), (0.02, -0.42), (-0.06, low), (-0.12 - wide, low)])
    ring = mirrored([(0, -0.8), (0.4, -0.82), (0.52, -0.58), (0.36, -0.34), (0, -0.26)])
    sketch.cloth += [hanging, front, ring]
    sketch.area(ellipse(0, -0.7, 0.27, 0.085), "lining")
    sketch.line([(-0.4, -0.62), (-0.1, -0.45), (0.3, -0.42)], width=0.02)
    for i in range(6):
        x = 0.19 + i * (wide - 0.05) / 5
        sketch.line([(x, other), (x + 0.01, other + 0.12)], "fringe", 0.03)
        x = -0.09 - wide + i * (wide - 0.05) / 5
        sketch.line([(x, low), (x - 0.01, low + 0.12)], "fringe", 0.03)
    return sketch if rng.random() < 0.5 else turned(sketch)


def turned(sketch: Sketch) -> Sketch:
    """The same garment seen in a mirror."""
    marks = [Mark(mark.form, flipped(mark.points), mark.tone, mark.width) for mark in sketch.front]
    return Sketch([flipped(shape) for shape in sketch.cloth], sketch.behind, marks, sketch.texture_scale)
