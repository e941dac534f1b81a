"""The board as one line for Nagios, Icinga and their kin: a state, what is wrong, and performance data. Pure.

States are those of the plugins' guidelines: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. They are the exit code of
`dr status --nagios`, in the place of the program's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dr.evidence.problem import SystemProblem
from dr.report.board import Row
from dr.report.phrases import counted

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_STATE = {"failed": CRITICAL, "missed": CRITICAL, "degraded": WARNING, "warning": WARNING}
#: Problems told in the one line; the rest is counted.
_TOLD = 5


def line(rows: Sequence[Row], site: Sequence[SystemProblem] = ()) -> tuple[int, str]:
    """Return the state and the line, also of what is wrong with the `site`. Without a system the state is UNKNOWN."""
    if not rows:
        return unknown("no system has a plan")
    found = [*(problem for row in rows for problem in row.problems), *site]
    state = max((_STATE[problem.severity] for problem in found), default=OK)
    problems = [(-_STATE[problem.severity], f"{problem.system or 'this site'}: {problem.text}") for problem in found]
    told = [text for _, text in sorted(problems, key=lambda pair: pair[0])]
    more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
    said = "; ".join([*told[:_TOLD], *more]) or f"{counted(len(rows), 'system')}, nothing is wrong"
    return state, f"DR {_WORDS[state]} - {_plain(said)} | {' '.join(_performance(rows))}"


def unknown(why: str) -> tuple[int, str]:
    """Return the state and the line where nothing can be told."""
    return UNKNOWN, f"DR {_WORDS[UNKNOWN]} - {_plain(why)}"


def _plain(text: str) -> str:
    """A line is one line, and its first `|` begins the performance data."""
    return " ".join(text.replace("|", "/").split())


def _performance(rows: Sequence[Row]) -> Iterator[str]:
    """Yield `label=value[unit];warn;crit;min` of each figure that is known: the objective is the critical value."""
    for row in rows:
        figures = (
            ("rpo_age", row.freshness_seconds, row.rpo_target_seconds),
            ("rta", row.last_rta_seconds, row.rto_target_seconds),
            ("exposure", row.exposure_seconds, row.rpo_target_seconds),
        )
        for name, value, objective in figures:
            if value is not None:
                yield f"'{row.system}_{name}'={value:.0f}s;;{objective};0"
        yield f"'{row.system}_proof_level'={row.proof_level};;;0;6"
        yield f"'{row.system}_problems'={len(row.problems)};;;0"


def document(state: int, text: str) -> dict[str, object]:
    """The same as a document."""
    return {"state": state, "line": text}
