"""A notice: a problem that somebody is told of, once when it begins and once when all is well again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

from dr.evidence.problem import ProblemKind, ProblemSeverity, SystemProblem
from dr.late_dataclass import dataclass

NoticeKind = Literal["backup", "proof", "drill", "objective", "posture", "suspect", "silence"]
NoticeSeverity = Literal["critical", "warning"]

_KINDS: Mapping[ProblemKind, NoticeKind] = {
    "rpo": "objective",
    "rto": "objective",
    "backup_failed": "backup",
    "replica_failed": "backup",
    "expiry_failed": "backup",
    "prune_failed": "backup",
    "proof_failed": "proof",
    "damage": "proof",
    "points_lost": "proof",
    "drill_failed": "drill",
    "never_drilled": "drill",
    "suspect": "suspect",
    "backup_overdue": "silence",
    "proof_overdue": "silence",
    "drill_overdue": "silence",
    "replica_overdue": "silence",
    "expiry_overdue": "silence",
    "prune_overdue": "silence",
    "plan_unusable": "silence",
    "unit_failed": "silence",
    "channel_failed": "silence",
    "heartbeat_failed": "silence",
}
_SEVERITY: Mapping[ProblemSeverity, NoticeSeverity] = {"failed": "critical", "missed": "critical"}
#: What passes by itself or is known to whoever did it: the board shows it, and nobody is told.
_QUIET: frozenset[ProblemKind] = frozenset({"interrupted", "recovery_under_way"})
#: What is so from the beginning: a new plan has no point and no drill yet. Told as soon as an objective is missed.
_FROM_THE_BEGINNING: frozenset[ProblemKind] = frozenset({"never_drilled", "rpo"})


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What one problem is told as. The same as before as long as problem, system and subject are the same.

    `system` is "" for what concerns the whole site. `well`: it is over.
    """

    problem: str
    kind: NoticeKind
    system: str
    subject: str
    severity: NoticeSeverity
    text: str
    todo: str
    since: datetime | None = None
    well: bool = False

    @property
    def identity(self) -> tuple[str, str, str]:
        """Problem, system and subject."""
        return self.problem, self.system, self.subject

    @property
    def sentence(self) -> str:
        """What, since when, and what to type."""
        since = f" (since {self.since:%Y-%m-%d %H:%M}Z)" if self.since else ""
        where = f"{self.system}: " if self.system else ""
        if self.well:
            return f"{where}well again. It was: {self.text}{since}"
        todo = "" if not self.todo or self.todo in self.text else f". To do: {self.todo}"
        return f"{where}{self.text}{since}{todo}"


def notices_of(problems: Iterable[SystemProblem]) -> Iterator[Notice]:
    """Yield what problems are told as; nothing of those that pass by themselves."""
    for problem in problems:
        if problem.kind in _QUIET or (problem.kind in _FROM_THE_BEGINNING and problem.severity == "warning"):
            continue
        missed = problem.severity == "missed"
        yield Notice(
            problem=problem.kind,
            kind="objective" if missed else _KINDS.get(problem.kind, "posture"),
            system=problem.system,
            subject=problem.subject,
            severity=_SEVERITY.get(problem.severity, "warning"),
            text=problem.text,
            todo=problem.todo,
            since=problem.since,
        )
