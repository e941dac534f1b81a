"""The report as one HTML file: no scripts, no links out, readable offline, on paper, light and dark.

Sole user of jinja2, loaded when first needed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dr.plan.units import format_bytes, format_duration
from dr.report import words
from dr.report.chart import charts
from dr.report.figures import LADDER, Report


def render(report: Report) -> str:
    """Return the whole page. Everything from outside is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"duration": _duration, "bytes": format_bytes, "when": _when, "count": _count}
    return env.get_template("report.html.j2").render(
        report=report,
        material=report.material,
        words=words,
        ladder=LADDER,
        charts=[(trend, charts(trend)) for trend in report.trends],
    )


def _duration(seconds: float | None, none: str = "not measured") -> str:
    return none if seconds is None else format_duration(seconds)


def _when(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _count(value: Any) -> str:
    return f"{value:,}".replace(",", " ")
