"""The digest: how all systems stand, in a text of a page that is read in a minute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from dr.evidence.notice import Notice
from dr.plan.units import counted, format_duration
from dr.report.board import Row


def digest(rows: Sequence[Row], notices: Sequence[Notice], *, now: datetime) -> tuple[str, str]:
    """Return the text, and its subject."""
    missed = [row for row in rows if "missed" in (row.rpo.word, row.rto.word)]
    counts = (counted(len(rows), "system"), counted(len(notices), "problem"), counted(len(missed), "objective"))
    subject = f"{', '.join(counts)} missed"
    return "\n".join(_lines(rows, notices, now)) + "\n", subject


def _lines(rows: Sequence[Row], notices: Sequence[Notice], now: datetime) -> Iterator[str]:
    yield f"State of {now:%Y-%m-%d %H:%M}Z\n"
    yield "What is wrong:" if notices else "Nothing is wrong."
    yield from (f"- {notice.sentence}" for notice in notices)
    yield "\nSystems:"
    for row in sorted(rows, key=lambda each: each.system):
        age = "no recovery point" if row.freshness_seconds is None else f"newest {_ago(row.freshness_seconds)}"
        proof = f"proven to level {row.proof_level}"
        proof += f" {_ago(row.proof_age_seconds)}" if row.proof_age_seconds is not None else ""
        drill = f"drilled {row.last_drill:%Y-%m-%d}: {row.last_drill_outcome}" if row.last_drill else "never drilled"
        yield f"- {row.system}: RPO {row.rpo.word}, RTO {row.rto.word}; {age}; {proof}; {drill}"


def _ago(seconds: float) -> str:
    return f"{format_duration(seconds)} ago"
