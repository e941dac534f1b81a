"""The report as one HTML file: no scripts, no links out, readable offline, on paper, light and dark.

Sole user of jinja2, loaded when first needed.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr.plan.units import format_bytes
from dr.report import words
from dr.report.chart import charts
from dr.report.figures import Report
from dr.report.phrases import count, counted, day, duration, percent, when, writable

if TYPE_CHECKING:
    from jinja2 import Environment

_TIGHT = re.compile(r"(?<=\d) (?=(?:min|[smhd]|[kMGT]?B|GiB)\b)|(?<=[<>=]) (?=\d)")  # 14 min, 18 GB, >= 1000


def render(report: Report) -> str:
    """Return the whole page. Everything from outside is escaped."""
    page = (
        templates()
        .get_template("report.html.j2")
        .render(
            report=report,
            material=report.material,
            words=words,
            charts=[(trend, charts(trend)) for trend in report.trends],
        )
    )
    return writable(page)


@functools.cache
def templates() -> Environment:
    """Return the templates, each of which is compiled once a process: that takes longer than a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_tight,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": duration, "bytes": format_bytes, "when": when, "count": count, "counted": counted,
        "percent": percent, "day": day,
    }  # fmt: skip
    return made


def _tight(value: Any) -> Any:
    """Keep a number and its unit on one line. What is markup already stays as it is."""
    return value if not isinstance(value, str) or hasattr(value, "__html__") else _TIGHT.sub("\u00a0", value)
