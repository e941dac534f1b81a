"""What checks stand on: the restored sources, and what one check came to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dr.evidence.record import Outcome
from dr.late_dataclass import dataclass
from dr.run.recovery.place.programs import ProgramRunner
from dr.run.recovery.place.restore_host import HERE, RestoreHost
from dr.sources.driver import RestoredSource

if TYPE_CHECKING:
    from dr.plan.source import Source


@dataclass(frozen=True)
class Poured:
    """A stored stream as it came back, on its way into a service."""

    filename: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Restored:
    """One source brought back. `declared` is None when the plan no longer names it, or as another kind.

    `only` says which part of it was restored, when it was not the whole; `poured` what went into a service;
    `beside` names what was laid down below `root` besides the data, and is counted nowhere.
    """

    name: str
    kind: str
    root: Path
    instance: RestoredSource
    declared: Source | None = None
    manifest: Path | None = None
    only: re.Pattern[bytes] | None = None
    poured: Poured | None = None
    files: int = 0
    listed: int = 0  # files the source has in this point, restored or not
    bytes: int = 0
    complaints: tuple[str, ...] = ()
    beside: frozenset[str] = frozenset()


@dataclass(kw_only=True)
class CheckContext:
    """Where checks run: the restored sources below `root` on the `land`, and what is known about them.

    `programs` is where the plan's own programs run, absent: where the land has them. `partial` says that only samples
    were restored, `sampled` that they were chosen by size and not by the plan's checks. `names` gathers (source,
    problem, path).
    """

    root: Path
    plan_dir: Path
    seed: str
    now: Callable[[], datetime]
    sources: Mapping[str, Restored]
    land: RestoreHost = HERE
    programs: ProgramRunner | None = None
    partial: bool = False
    sampled: bool = False
    newest: Mapping[str, datetime] = field(default_factory=dict)
    names: list[tuple[str, str, bytes]] = field(default_factory=list)

    @property
    def works(self) -> ProgramRunner:
        """Where the plan's own programs run."""
        return self.programs or self.land.works


@dataclass(frozen=True)
class CheckOutcome:
    """What one check came to."""

    expected: str
    observed: str
    outcome: Outcome


def verdict(holds: bool) -> Outcome:
    """Return the outcome of a check that was made."""
    return "ok" if holds else "failed"
