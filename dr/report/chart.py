"""Charts as plain data for the templates: everything already placed, nothing left to compute."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from dr.late_dataclass import dataclass
from dr.plan.units import format_duration
from dr.report.figures import Trend
from dr.report.phrases import counted, day

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480.0, 250.0, 74.0, 12.0, 26.0, 34.0
_STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 172_800, 604_800)
_CROWD = 60  # drills from which on marks are drawn small
_MISSING = "without a result"
_LEAST = 0.1  # a logarithmic axis has no zero


@dataclass(frozen=True)
class Sample:
    """One drill's value (None: there is none) and the objective of that day, in seconds."""

    at: datetime
    value: float | None
    objective: int


@dataclass(frozen=True)
class Mark:
    """One drill, placed; `label` says it in words."""

    x: float
    y: float
    label: str
    missed: bool


@dataclass(frozen=True)
class Chart:
    """Values over time with the objective as a line, on a logarithmic axis, as the values span decades."""

    title: str
    summary: str
    path: str  # through the values; broken where a drill has none
    marks: tuple[Mark, ...]
    gaps: tuple[Mark, ...]  # drills without a value
    goal: str  # the path of the objective: a step where it changed
    within: str  # the area on the right side of it
    goal_y: float
    goal_label: str
    ticks: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str, str], ...]  # x, text, anchor
    radius: float
    crowded: bool


def charts(trend: Trend) -> tuple[Chart, Chart]:
    """Return the charts of recovery time and recovery point of one system."""
    rta = [Sample(m.at, m.rta, m.rto) for m in trend.moments]
    rpa = [Sample(m.at, m.rpa, m.rpo) for m in trend.moments]
    return (
        _chart("Recovery time (RTA)", "RTO", rta),
        _chart("Age of the recovery point (RPA)", "RPO", rpa),
    )


def _chart(title: str, name: str, samples: Sequence[Sample]) -> Chart:
    place_x, (low, high) = _across([s.at for s in samples]), _range(samples)
    place_y = _down(low, high)
    spots = [(place_x(s.at), s) for s in samples]
    marks = [Mark(x, place_y(s.value), _label(s, format_duration(s.value)), s.value > s.objective)
             for x, s in spots if s.value is not None]  # fmt: skip
    gaps = [Mark(x, TOP + 8, _label(s, _MISSING), missed=True) for x, s in spots if s.value is None]
    goal = _steps([(x, place_y(s.objective)) for x, s in spots])
    goal_y = place_y(samples[-1].objective)
    objective = f"{name} {format_duration(samples[-1].objective)}"
    within = sum(not mark.missed for mark in marks)
    summary = f"{within} of {counted(len(samples), 'drill')} within the {name} of its day"
    summary += f"; {len(gaps)} {_MISSING}" if gaps else ""
    return Chart(
        title=title,
        summary=f"{summary}. The {name} is {format_duration(samples[-1].objective)} now.",
        path=_path(spots, place_y),
        marks=tuple(marks),
        gaps=tuple(gaps),
        goal=goal,
        within=f"{goal} V{HEIGHT - BOTTOM:g} H{LEFT:g} Z",
        goal_y=goal_y,
        goal_label=objective,
        ticks=tuple(_ticks(low, high, goal_y, place_y)),
        days=tuple(_days(samples[0].at, samples[-1].at, place_x)),
        radius=4.5 if len(samples) <= _CROWD else 2.0,
        crowded=len(samples) > _CROWD,
    )


def _label(sample: Sample, text: str) -> str:
    return f"{sample.at:%Y-%m-%d %H:%M} UTC: {text}"


def _across(moments: Sequence[datetime]) -> Callable[[datetime], float]:
    begin, end = moments[0].timestamp(), moments[-1].timestamp()

    def place(at: datetime) -> float:
        share = (at.timestamp() - begin) / (end - begin) if end > begin else 0.5
        return round(LEFT + 10 + (WIDTH - LEFT - RIGHT - 20) * share, 1)

    return place


def _range(samples: Sequence[Sample]) -> tuple[float, float]:
    values = [max(s.value, _LEAST) for s in samples if s.value is not None]
    values += [float(max(s.objective, 1)) for s in samples]
    return min(values) * 0.5, max(values) * 2.5


def _down(low: float, high: float) -> Callable[[float], float]:
    def place(value: float) -> float:
        share = (math.log(max(value, _LEAST)) - math.log(low)) / (math.log(high) - math.log(low))
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)

    return place


def _path(spots: Sequence[tuple[float, Sample]], place_y: Callable[[float], float]) -> str:
    parts, pen = [], "M"
    for x, sample in spots:
        if sample.value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{x:g},{place_y(sample.value):g}")
        pen = "L"
    return " ".join(parts)


def _steps(places: Sequence[tuple[float, float]]) -> str:
    parts = [f"M{LEFT:g},{places[0][1]:g}"]
    for (_, before), (x, y) in itertools.pairwise(places):
        if y != before:
            parts.append(f"H{x:g} V{y:g}")
    return " ".join([*parts, f"H{WIDTH - RIGHT:g}"])


def _ticks(low: float, high: float, taken: float, place: Callable[[float], float]) -> Iterator[tuple[float, str]]:
    found: list[float] = []
    for step in _STEPS:
        y = place(step)
        if low < step < high and abs(y - taken) > 14 and all(abs(y - other) > 30 for other in found):
            found.append(y)
            yield y, format_duration(step)


def _days(first: datetime, last: datetime, place: Callable[[datetime], float]) -> Iterator[tuple[float, str, str]]:
    if day(first) == day(last):
        yield (LEFT + WIDTH - RIGHT) / 2, day(first), "middle"
        return
    yield LEFT, day(first), "start"
    middle = first + (last - first) / 2
    if (last - first).days > 2:
        yield place(middle), day(middle), "middle"
    yield WIDTH - RIGHT, day(last), "end"
