"""Charts as plain data for the templates: points already placed, nothing left to compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dr.plan.units import format_duration
from dr.report.figures import Trend

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640.0, 180.0, 70.0, 14.0, 26.0
_STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 172_800, 604_800)


@dataclass(frozen=True)
class Mark:
    """One drill's value, placed; `label` says it in words."""

    x: float
    y: float
    label: str
    missed: bool


@dataclass(frozen=True)
class Chart:
    """Values over time with the objective as a line, on a logarithmic axis, as the values span decades."""

    title: str
    summary: str
    path: str
    marks: tuple[Mark, ...]
    gaps: tuple[Mark, ...]  # drills without a value
    objective_y: float
    objective: str
    ticks: tuple[tuple[float, str], ...]
    first: str
    last: str


def charts(trend: Trend) -> tuple[Chart, Chart]:
    """Return the charts of recovery time and recovery point of one system."""
    return (
        _chart("Recovery time (RTA)", "RTO", trend.moments, trend.rta, trend.rto),
        _chart("Recovery point (RPA)", "RPO", trend.moments, trend.rpa, trend.rpo),
    )


def _chart(title: str, name: str, moments: Sequence[datetime], values: Sequence[float | None], objective: int) -> Chart:
    known = [max(value, 0.1) for value in values if value is not None]
    low, high = min([*known, objective]) * 0.6, max([*known, objective]) * 1.6

    def place_y(value: float) -> float:
        share = (math.log(max(value, 0.1)) - math.log(low)) / (math.log(high) - math.log(low))
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)

    def place_x(index: int) -> float:
        begin, end = moments[0].timestamp(), moments[-1].timestamp()
        share = (moments[index].timestamp() - begin) / (end - begin) if end > begin else 0.5
        return round(LEFT + 12 + (WIDTH - LEFT - 30) * share, 1)

    marks, gaps = [], []
    for index, value in enumerate(values):
        day = f"{moments[index]:%Y-%m-%d %H:%M} UTC"
        if value is None:
            gaps.append(Mark(place_x(index), HEIGHT - BOTTOM - 6, f"{day}: not achieved", missed=True))
        else:
            label = f"{day}: {format_duration(value)}"
            marks.append(Mark(place_x(index), place_y(value), label, missed=value > objective))
    within = sum(not mark.missed for mark in marks)
    return Chart(
        title=title,
        summary=f"{title} of {len(values)} drills; {within} within the {name} of {format_duration(objective)}.",
        path=" ".join(f"{'M' if i == 0 else 'L'}{m.x},{m.y}" for i, m in enumerate(marks)),
        marks=tuple(marks),
        gaps=tuple(gaps),
        objective_y=place_y(objective),
        objective=f"{name} {format_duration(objective)}",
        ticks=tuple(_ticks(low, high, place_y(objective), place_y)),
        first=f"{moments[0]:%Y-%m-%d}",
        last=f"{moments[-1]:%Y-%m-%d}",
    )


def _ticks(low: float, high: float, taken: float, place: object) -> list[tuple[float, str]]:
    found: list[tuple[float, str]] = []
    for step in _STEPS:
        if low < step < high:
            y = place(step)  # type: ignore[operator]
            if abs(y - taken) > 16 and all(abs(y - other) > 22 for other, _ in found):
                found.append((y, format_duration(step)))
    return found
