"""What one look at what is due did."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from dr.errors import Fault
from dr.evidence.record import BackupRun, Drill, Proof, Replication
from dr.late_dataclass import dataclass

if TYPE_CHECKING:
    from dr.operations.expire import ExpireResult
    from dr.operations.lifecycle import Finished


@dataclass
class DueDone:
    """What one `dr run` did; `faults` are those of plans that could not be used."""

    backups: list[Finished[BackupRun]] = field(default_factory=list)
    proofs: list[Finished[Proof]] = field(default_factory=list)
    drills: list[Finished[Drill]] = field(default_factory=list)
    replications: list[Finished[Replication]] = field(default_factory=list)
    expirations: list[ExpireResult] = field(default_factory=list)
    faults: tuple[Fault, ...] = ()

    @property
    def any(self) -> bool:
        """Whether anything was done, or could not be."""
        return any((self.backups, self.proofs, self.drills, self.replications, self.expirations))
