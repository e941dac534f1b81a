"""What `dr status` prints for people: the table, and the lines below it."""

from __future__ import annotations

from collections.abc import Iterator

from dr.evidence.acts import Hold
from dr.plan.units import format_duration
from dr.report.board import Row
from dr.report.copies import RULE
from dr.report.verdict import Verdict


def status_row(row: Row) -> dict[str, str]:
    """Return one system's row of the table, under its heads."""
    undrilled = "not achieved" if row.last_drill else "no drill"
    age = f" ({_told(row.proof_age_seconds, '')} ago)" if row.proof_age_seconds is not None else ""
    return {
        "system": row.system,
        "rpo": _judged(row.rpo, row.freshness_seconds, "no point", row.rpo_target_seconds),
        "exposure": _told(row.exposure_seconds, "unknown"),
        "rto": _judged(row.rto, row.last_rta_seconds, undrilled, row.rto_target_seconds),
        "proof": f"{row.proof_level}{age}",
        RULE: "unknown" if row.copies is None else "met" if row.copies.met else f"no {row.copies.numbers}",
        "last drill": f"{row.last_drill_outcome} {row.last_drill:%Y-%m-%d}" if row.last_drill else "never",
    }


def status_lines(row: Row, holds: tuple[Hold, ...], *, asked: bool) -> Iterator[str]:
    """Yield what is to be said of a system below the table; of the rule of copies where it was `asked` for by name."""
    for problem in row.problems:
        yield problem.text
    for hold in holds:
        on = f"point {hold.point}" if hold.point else "all points"
        until = f" until {hold.until:%Y-%m-%d}" if hold.until else ""
        yield f"{on} on hold{until} ({hold.hold_id}): {hold.reason}"
    for place in row.places:
        if place.offline:
            seen = f"{place.seen:%Y-%m-%d %H:%M}Z" if place.seen else "never"
            newest = f"{place.newest:%Y-%m-%d %H:%M}Z" if place.newest else "none"
            yield f"the disk {place.target} was last there: {seen}; its newest point: {newest}"
        if place.coverage and (asked or place.unread_objects):
            yield f"what {place.target} holds: {place.coverage}"
    if asked and row.copies and not row.copies.met:
        yield f"{RULE} is not met. Missing: {'; '.join(row.copies.missing)}"


def _told(seconds: float | None, none: str) -> str:
    return none if seconds is None else format_duration(seconds)


def _judged(verdict: Verdict, seconds: float | None, none: str, goal: int) -> str:
    """`met (3 s of 4 h)`, or `unknown (no point, 4 h wanted)`."""
    wanted = format_duration(goal)
    known = f"{none}, {wanted} wanted" if seconds is None else f"{format_duration(seconds)} of {wanted}"
    return f"{verdict.word} ({known})"
