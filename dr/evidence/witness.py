"""What lies beside a repository says of the records of a system."""

from __future__ import annotations

from dr.errors import DEGRADED, FAILED, OK, DrError
from dr.late_dataclass import dataclass


@dataclass(frozen=True, kw_only=True)
class StrangeRecord:
    """A record that was sealed, and is not in the catalog: its file's name, what it is of, and its time as sealed."""

    name: str
    kind: str
    run_id: str
    at: str


@dataclass(frozen=True, kw_only=True)
class Witness:
    """What one target keeps of the records of one system, by the names of its files there.

    So many `records` are as they are in the catalog; `strange` ones it does not hold; `altered` are
    not as they were sealed; `lost` were sent there, and are not there as they were; so many are still `unsent`. With an
    `error` nothing could be read; `detached` is a disk that may be away, and is.
    """

    system: str
    target: str
    records: int = 0
    strange: tuple[StrangeRecord, ...] = ()
    altered: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    unsent: int = 0
    detached: bool = False
    error: DrError | None = None

    @property
    def where(self) -> str:
        """The repository that it lies beside, in words."""
        return f"{self.system}@{self.target}"

    @property
    def outcome(self) -> str:
        """`agrees`, `strange` (all that was sent is there, and more), `differs`, `detached` or `unread`."""
        if self.error:
            return "unread"
        if self.detached:
            return "detached"
        if self.altered or self.lost:
            return "differs"
        return "strange" if self.strange else "agrees"

    @property
    def exit_code(self) -> int:
        """Failed where it differs; degraded where somebody has to look: a rehearsal elsewhere leaves records, too."""
        if self.error:
            return self.error.exit_code
        return {"differs": FAILED, "strange": DEGRADED}.get(self.outcome, OK)
