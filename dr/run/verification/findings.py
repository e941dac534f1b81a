"""What a verification finds on its way up the ladder of proof, before it is a fact."""

from __future__ import annotations

from dataclasses import field

from dr.evidence.coverage import Coverage
from dr.evidence.look import Look
from dr.evidence.record import Damage, Point
from dr.late_dataclass import dataclass
from dr.run.workspace.toolbox import Place

#: Said where no key is stored: whatever the passphrase, nothing opens the repository, and restic blames that.
NO_KEY = "no key is stored there, so no passphrase opens the repository"
PUT_KEYS_BACK = "put `keys/` back from another copy of this repository; until then recover from another target"


@dataclass
class Findings:
    """What one run found so far."""

    level: int = 0
    damage: list[Damage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    hint: str = ""  # of the first problem
    notes: list[str] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    share: str = ""
    expired: list[Point] = field(default_factory=list)
    on_record: frozenset[str] = frozenset()  # the snapshots of the points on record, by name
    apart: IndexDamage | None = None
    look: Look | None = None
    exchanged: bool = False  # it is not the repository on record
    keyless: bool = False  # no key is stored there
    coverage: Coverage | None = None
    behind: bool = False  # nothing is damaged, but not all was read within the bound
    healed: str = ""  # what a killed process left there, and was put right

    @property
    def real(self) -> list[Damage]:
        """What is damage, and not only of no use."""
        return [item for item in self.damage if item.problem != "unreferenced"]


@dataclass(frozen=True)
class IndexDamage:
    """Index damage told from data damage, by snapshots: those that cannot be read as it is, None for all; and those
    that need data which is not there.
    """

    hit: frozenset[str] | None
    lacking: frozenset[str]


def snapshots_of(place: Place, point: Point) -> set[str]:
    """Return the names of the snapshots that a point has there, by what is on record."""
    copies = [copy for copy in point.copies if copy.target == place.name]
    return {f"snapshots/{each}" for copy in copies for each in copy.ids}
