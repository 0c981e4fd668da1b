"""Fragments of SVG. `currentColor` is the colour of the layer that a fragment is drawn in."""

import math
from collections.abc import Iterable, Sequence

Points = Sequence[tuple[float, float]]


def dot(x: float, y: float, radius: float) -> str:
    """A disc."""
    return f'<circle cx="{x:.4g}" cy="{y:.4g}" r="{radius:.4g}" fill="currentColor"/>'


def ring(x: float, y: float, radius: float, width: float) -> str:
    """A disc with a paler inside."""
    return (
        f'<circle cx="{x:.4g}" cy="{y:.4g}" r="{radius:.4g}" fill="currentColor" '
        f'fill-opacity="0.35" stroke="currentColor" stroke-width="{width:.3g}"/>'
    )


def turned(outline: Points, x: float, y: float, angle: float) -> str:
    """A polygon, turned by an angle (rad) and moved."""
    points = " ".join(f"{a:.4g},{b:.4g}" for a, b in outline)
    place = f"translate({x:.4g} {y:.4g}) rotate({math.degrees(angle):.4g})"
    return (
        f'<polygon points="{points}" transform="{place}" fill="currentColor" fill-opacity="0.8" '
        'stroke="currentColor" stroke-width="3" stroke-linejoin="round"/>'
    )


def wall_box(left: float, top: float, right: float, bottom: float) -> str:
    """A solid rectangle."""
    return (
        f'<rect class="wall" x="{left:.4g}" y="{top:.4g}" width="{right - left:.4g}" '
        f'height="{bottom - top:.4g}"/>'
    )


def lines(ends: Iterable[Sequence[float]]) -> str:
    """Thin lines, each from (x0, y0) to (x1, y1), as one path."""
    marks = "".join(f"M{x0:.3g} {y0:.3g}L{x1:.3g} {y1:.3g}" for x0, y0, x1, y1 in ends)
    return f'<path d="{marks}"/>'


def wall_line(ends: tuple[float, float, float, float], width: float) -> str:
    """A wall with round ends from (x0, y0) to (x1, y1)."""
    x0, y0, x1, y1 = ends
    return (
        f'<line class="wall-line" x1="{x0:.4g}" y1="{y0:.4g}" x2="{x1:.4g}" y2="{y1:.4g}" '
        f'stroke-width="{width:.4g}"/>'
    )
