"""What is wrong with a system, as values: what the board lists, and what a notice compares.

A problem is the same one as long as its kind, its system and its subject are the same. Its text may change meanwhile
(an age grows, an error is put in other words), and so may its severity: neither makes it a new problem.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from dr.late_dataclass import dataclass

#: `failed`: it does not work. `missed`: an objective is. `degraded`: it works in part. `warning`: to be looked at.
ProblemSeverity = Literal["failed", "missed", "degraded", "warning"]
#: The worst first.
SEVERITIES: tuple[ProblemSeverity, ...] = ("failed", "missed", "degraded", "warning")

#: All that can be wrong, and what the subject is then ("" where no subject is named).
ProblemKind = Literal[
    "rpo",  # the recovery point objective is missed, or no point exists yet
    "rto",  # the recovery time objective is missed by the time that the last drill took
    "backup_failed",  # the last one ended so
    "backup_overdue",
    "proof_failed",
    "proof_overdue",
    "drill_failed",
    "drill_overdue",
    "never_drilled",
    "replica_failed",  # a replica's target
    "replica_overdue",
    "expiry_failed",  # what retention no longer keeps could not be removed where backups write
    "expiry_overdue",
    "prune_failed",
    "prune_overdue",
    "target_grows",  # a target where nothing is ever removed, and that holds more than retention keeps
    "target_full",  # a target that holds what its file says it may hold, or nearly, or soon
    "over_budget",  # a target that costs what its file says it may cost, or nearly, or soon
    "interrupted",  # the verb of a run that was killed
    "suspect",  # a recovery point looks as if an attacker had been at work
    "clock",  # records bear a later time than now
    "locks_expired",  # recovery points whose object locks ran out
    "foreign_points",  # a target that another installation writes to
    "points_lost",  # a target that does not hold what it should
    "damage",  # stored bytes of recovery points are damaged or missing
    "escrow_key_missing",  # a target whose repository no recovery kit could open
    "old_keys",  # a target whose repository replaced keys still open
    "foreign_keys",  # a target whose repository keys of others open
    "recovery_under_way",  # the directory of a recovery that has a way back to go
    "plan_unusable",  # nothing runs for its system
    "channel_failed",  # a channel by which notices are sent
    "unit_failed",  # a unit of systemd that was killed, or ended before it could tell anybody
    "heartbeat_failed",  # the service that is to miss this host
]


@dataclass(frozen=True, kw_only=True)
class SystemProblem:
    """One thing that is wrong with a system.

    `subject` is the target, source, verb or directory concerned, as the kind says. `since`: from when it is so, None
    where that is not known. `text` is the sentence that the board shows; `todo` a command to type or an action.
    """

    kind: ProblemKind
    system: str
    severity: ProblemSeverity
    text: str
    todo: str
    subject: str = ""
    since: datetime | None = None

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes it the same problem as before: kind, system, subject."""
        return self.kind, self.system, self.subject

    @property
    def sentence(self) -> str:
        """What is wrong and what to do about it; nothing is repeated where the text says both."""
        return self.text if not self.todo or self.todo in self.text else f"{self.text}; {self.todo}"


def texts(problems: Iterable[SystemProblem]) -> list[str]:
    """Return what is wrong in words."""
    return [problem.text for problem in problems]
