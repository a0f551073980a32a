"""Shapes in garment coordinates: x and y from -1 to 1, y downwards, filling most of the square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]  # (n, 2)
Pair = tuple[float, float]


@dataclass(frozen=True)
class Mark:
    """A detail over or under the cloth: an area, a line of `width`, or a round dot of diameter `width`."""

    form: str
    points: Points
    tone: str
    width: float = 0.02


@dataclass
class Sketch:
    """A garment before it has a colour: areas of cloth, what lies behind them and what lies on them."""

    cloth: list[Points] = field(default_factory=list)
    behind: list[Mark] = field(default_factory=list)
    front: list[Mark] = field(default_factory=list)
    texture_scale: float = 1.0

    def area(self, points: Points, tone: str) -> None:
        self.front.append(Mark("area", points, tone))

    def under(self, points: Points, tone: str) -> None:
        self.behind.append(Mark("area", points, tone))

    def line(self, points: Sequence[Pair], tone: str = "seam", width: float = 0.018) -> None:
        self.front.append(Mark("line", outline(points), tone, width))

    def dot(self, x: float, y: float, tone: str = "button", width: float = 0.05) -> None:
        self.front.append(Mark("dot", outline([(x, y)]), tone, width))


@dataclass(frozen=True)
class Pose:
    """Where the garment lies in the frame: a turn, a scale in x and y, a shear and a shift."""

    matrix: NDArray[np.float32]  # (2, 2)
    shift: NDArray[np.float32]  # (2,)

    def __call__(self, points: Points) -> Points:
        moved: Points = points @ self.matrix + self.shift
        return moved


def random_pose(rng: Random) -> Pose:
    """A pose that keeps the garment inside the central square, nearly."""
    angle = math.radians(rng.gauss(0, 5.5))
    size = rng.uniform(0.76, 0.98)
    wide, shear = rng.uniform(0.92, 1.08), rng.gauss(0, 0.035)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]], np.float32)
    stretch = np.array([[size * wide, 0], [shear * size, size]], np.float32)
    if rng.random() < 0.5:
        stretch[:, 0] *= -1
    shift = np.array([rng.uniform(-0.07, 0.07), rng.uniform(-0.07, 0.07)], np.float32)
    return Pose((stretch @ turn).astype(np.float32), shift)


def outline(points: Sequence[Pair]) -> Points:
    """The points as an array (n, 2)."""
    return np.array(points, np.float32)


def rounded(points: Sequence[Pair], rounds: int = 2) -> Points:
    """A closed outline with its corners cut (Chaikin 1974); a point given twice stays a sharp corner."""
    shape = outline(points)
    for _ in range(rounds):
        following = np.roll(shape, -1, axis=0)
        cut = np.empty((2 * len(shape), 2), np.float32)
        cut[0::2] = 0.75 * shape + 0.25 * following
        cut[1::2] = 0.25 * shape + 0.75 * following
        shape = cut
    return shape


def mirrored(right: Sequence[Pair], rounds: int = 2) -> Points:
    """A symmetric outline from its right half, listed from the top to the bottom."""
    left = [(-x, y) for x, y in reversed(right) if x > 1e-6]
    return rounded([*right, *left], rounds)


def flipped(points: Points) -> Points:
    """The same outline on the other side of the middle line."""
    return points * np.array([-1, 1], np.float32)


def ellipse(x: float, y: float, rx: float, ry: float, corners: int = 18) -> Points:
    """An ellipse as a polygon."""
    turn = np.linspace(0, 2 * math.pi, corners, endpoint=False, dtype=np.float32)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)


def arc(centre: Pair, radii: Pair, start_deg: float, end_deg: float, corners: int = 10) -> list[Pair]:
    """An arc's points; 0° points right and 90° down."""
    angles = [math.radians(start_deg + (end_deg - start_deg) * i / (corners - 1)) for i in range(corners)]
    return [(centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles]
