"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dr.plan.units import format_bytes, format_duration
from dr.report import words
from dr.report.figures import LADDER, DrillView, Report
from dr.report.html import _duration as duration
from dr.report.html import _when as when


def render(report: Report) -> str:
    """Return the whole report as Markdown."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def _lines(report: Report) -> Iterator[str]:
    material = report.material
    yield from (
        f"# {_plain(material.title)}",
        "",
        f"Made {when(material.generated)}",
        "",
        f"**{_plain(report.headline)}**",
        "",
    )
    if material.rows:
        yield from ("## Systems today", "")
        yield from _table(
            ("System", "Newest data", "RPO", "Last recovery", "RTO", "Proof"),
            [
                (
                    row.system,
                    duration(row.freshness_seconds, "none"),
                    row.rpo.word,
                    duration(row.last_rta_seconds, "not achieved"),
                    row.rto.word,
                    LADDER[row.proof_level],
                )
                for row in material.rows
            ],
        )
        yield from (f"- {row.system}: {_plain(problem)}" for row in material.rows for problem in row.problems)
        yield ""
    for view in report.focus:
        yield from _drill(view)
    yield from ("## What this does not show", "", *(f"- {limit}" for limit in words.LIMITS), "")
    yield from ("## The words used", "", *(f"- **{name}**: {text}" for name, text in words.DEFINITIONS), "")
    yield from ("## How to check this report", "")
    yield f"`dr audit` must end in the head `{material.head[1]}`, after {material.head[0]} records."
    yield f"The chain was read while making this report: {material.audit}."


def _drill(view: DrillView) -> Iterator[str]:
    fact = view.fact
    what = "recovery" if fact.real else "drill"
    yield from (f"## {_plain(view.title)}: {what} of {when(fact.started)}", "", _plain(view.sentence), "")
    yield from _table(
        ("Objective", "Target", "Actual", "Verdict"),
        [
            (
                "RTO",
                format_duration(fact.objectives.rto_seconds),
                duration(fact.rta_seconds, "not achieved"),
                view.rto.word,
            ),
            ("RPO", format_duration(fact.objectives.rpo_seconds), duration(fact.rpa_seconds), view.rpo.word),
        ],
    )
    yield from (f"- {name}: {format_duration(seconds)}" for name, seconds, _ in view.wide)
    yield ""
    if fact.checks:
        yield from _table(
            ("Check", "Source", "Expected", "Observed", "Result"),
            [(c.check, c.source or "the system", c.expected, c.observed, c.outcome) for c in fact.checks],
        )
    yield f"- point: {fact.run_id or 'none'} from {fact.target or 'nowhere'}, as of {when(fact.consistency_time)}"
    size = f"{format_bytes(fact.bytes)} of {format_bytes(fact.protected_bytes)} protected"
    yield f"- restored: {fact.files} files, {size}"
    yield f"- evidence: record {view.seq}, SHA-256 `{view.digest}`"
    yield ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in row) + " |"
    yield ""


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")
