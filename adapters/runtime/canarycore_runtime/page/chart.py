"""Weights over time as SVG: steps, because a weight stays until the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.results import format_time
from canarycore_runtime.page.markup import Markup, element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from canarycore_runtime.page.views import WeightPoint

WIDTH, HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 12, 12, 36
_GRID = (0, 25, 50, 75, 100)


def draw_weights(points: Sequence[WeightPoint], until: float) -> Markup:
    """Return a chart of the weights from the first point until a moment, with axes."""
    start, end = _span(points, until)
    path = _steps(points, start, end, (_LEFT, _TOP, WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM))
    lines = [_grid_line(weight) for weight in _GRID]
    base = HEIGHT - 8
    return element(
        "svg",
        element("title", describe_weights(points)),
        lines,
        element("polyline", points=path, class_="line", fill="none"),
        element("text", _moment(start), x=_LEFT, y=base, class_="axis"),
        element("text", _moment(end), x=WIDTH - _RIGHT, y=base, text_anchor="end", class_="axis"),
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )


def draw_sparkline(points: Sequence[WeightPoint]) -> Markup:
    """Return a small line of the weights without axes, as a decoration of a text that has the last weight."""
    start, end = _span(points, 0.0)
    path = _steps(points, start, end, (1, 1, 118, 22))
    line = element("polyline", points=path, class_="line", fill="none")
    return element("svg", line, class_="sparkline", viewBox="0 0 120 24", aria_hidden="true")


def describe_weights(points: Sequence[WeightPoint]) -> str:
    """Return the weights in words, for somebody who does not see the chart."""
    shown = ", ".join(f"{point.weight}% from {format_time(point.at)}" for point in points[-10:])
    return f"Requests to the new version: {shown}" if shown else "No weights yet"


def _span(points: Sequence[WeightPoint], until: float) -> tuple[float, float]:
    if not points:
        return until, until + 1
    return points[0].at, max(until, points[-1].at, points[0].at + 1)


def _steps(points: Sequence[WeightPoint], start: float, end: float, box: tuple[int, int, int, int]) -> str:
    """Return the corners of the steps within a box (x, y, width, height), in the form of SVG."""
    left, top, width, height = box
    corners: list[tuple[float, float]] = []
    for point in points:
        x = left + width * (point.at - start) / (end - start)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, top + height * (1 - point.weight / 100)))
    if corners:
        corners.append((left + width, corners[-1][1]))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _grid_line(weight: int) -> Markup:
    y = _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - weight / 100)
    line = element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid")
    return Markup(line + element("text", f"{weight}%", x=_LEFT - 6, y=y + 5, text_anchor="end", class_="axis"))


def _moment(seconds: float) -> str:
    """Return the time of day, or plain seconds of a simulation."""
    text = format_time(seconds)
    return f"{text[11:19]} UTC" if text.endswith("Z") and seconds > 1e6 else f"{seconds:g}s"
