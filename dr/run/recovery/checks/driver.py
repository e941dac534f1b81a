"""What a kind of check is: a driver, which says what is expected and looks at what was restored.

Each kind has one file here, and its keys in `dr.plan.check_kinds`. docs/extending.md walks through a kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from dr.late_dataclass import dataclass
from dr.plan.check_kinds import CheckBody
from dr.run.recovery.checks.context import CheckContext, CheckOutcome

B = TypeVar("B", bound=CheckBody)


@dataclass(frozen=True)
class CheckDriver(ABC, Generic[B]):
    """One check of a plan, ready to be made. `declares` is the kind's own declaration."""

    declares: ClassVar[type[CheckBody]]

    body: B

    @abstractmethod
    def expected(self) -> str:
        """Return what is expected, in words; said also where the check could not be made.

        Counts and values, never the name of a file that was restored: it goes into the evidence.
        """

    @abstractmethod
    def run(self, context: CheckContext) -> CheckOutcome:
        """Look at what was restored, and say what was seen; the same rule holds for its words.

        The source that the check names is there, and its databases answer where the kind asks them. What cannot be
        looked at is raised as `DrError`, `OSError` or `re.error`: then the check has failed. "skipped" is for what this
        drill did not restore. Files concerned are added to `context.names`, which stays on this host.
        """

    def newest(self, context: CheckContext) -> datetime | None:
        """Return the newest record of what it looked at, where that belongs beside it in the evidence."""
        return None
