"""What every kind of target does, and what only some can: the latter does nothing, or says so, unless overridden."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dr.errors import UsageError
from dr.evidence.posture import Finding, Probe
from dr.late_dataclass import dataclass
from dr.targets.making import BucketPlan
from dr.tools.erase import Eraser, StoreEraser
from dr.tools.store import ObjectStore, Posture

if TYPE_CHECKING:
    from dr.plan.target import Target
    from dr.plan.target_kind import Credentials, TargetKind
    from dr.tools.meter import Meter
    from dr.tools.s3_bucket import S3Bucket
    from dr.tools.s3_versions import S3Versions
    from dr.tools.state_dir import StateDir


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A target as it is used: its objects, and what restic is told. Nothing was asked over a network yet.

    The repository of a system is at `location`/SYSTEM. `env` and `options` are those of a restic process.
    """

    store: ObjectStore
    location: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """How restic alone reaches a target where a recovery kit was unpacked: the same, as lines of a shell.

    `exports` name files as they lie in the kit: `keys/TARGET`, `authorities/TARGET`.
    """

    location: str
    exports: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def access(posture: Posture, *, others: str, closed: str, hint: str) -> Finding:
    """Return who may look into a directory; of one that is not there, that nobody made it yet."""
    if posture.public_access == "open":
        return Finding(what="access", severity="medium", observed=others, hint=hint)
    made = posture.public_access == "closed"
    return Finding(what="access", severity="ok", observed=closed if made else "the directory is not made yet")


class TargetDriver(ABC):
    """One target. `state` is where a recovery kit may have left what opens it; None: the target's own is used."""

    #: What is written in target files; only of a kind that is added (`dr.targets.kinds.register`).
    declares: ClassVar[type[TargetKind]]
    #: Whether there is something to try with the credentials that back up: see `probe`.
    can_probe: ClassVar[bool] = False
    #: What counts what passes to and from the stores that it opens; None for nobody.
    meter: Meter | None = None

    def __init__(self, target: Target, state: StateDir | None = None) -> None:
        self.target, self.name, self._state = target, target.target, state

    # -- what every kind does -----------------------------------------------------------------------

    @abstractmethod
    def open(self, *, seen: bool = False) -> Opened:
        """Return the target as it is used; `seen`: the record says that it was there.

        Raises `RefusedError` when a secret is not there. Reaches for nothing.
        """

    @abstractmethod
    def look(self, now: datetime, below: str) -> Iterator[Finding]:
        """Yield how it is kept, without a change; objects are looked at below a prefix alone.

        Raises as `ObjectStore.reachable` and `open` do.
        """

    def names(self, store: ObjectStore, folder: str) -> frozenset[str] | None:
        """Return the names of the objects in a folder of a store of it, where a glance shows few; None elsewhere.

        What it shows is there. That it shows all is for a listing to prove.
        """
        return None

    def deleting(self) -> Opened:
        """Return it opened with what may delete there: by default what backs up, which a server may refuse.

        Raises `DrError` where other keys are needed and none are named, `RefusedError` where a secret is not there.
        """
        return self.open()

    def carry(self, env: Mapping[str, str], left_out: list[str]) -> dict[str, bytes]:
        """Return what a recovery kit needs to reach it, as `keys/TARGET` and `authorities/TARGET`.

        `env` is that of its `Opened`. What cannot be taken along is added to `left_out`, in words.
        """
        return {}

    @abstractmethod
    def by_hand(self) -> ByHand:
        """Return how restic alone reaches it with what `carry` gave. Reads no secret."""

    def tidy(self, store: ObjectStore) -> int:
        """Clear away what killed writers left in a store of it; return how much. Only while nobody else writes."""
        return 0

    def eraser(self, store: ObjectStore) -> Eraser:
        """Return what erases objects of a store of it for good."""
        return StoreEraser(store)

    # -- what only some can -------------------------------------------------------------------------

    def probe(self, now: datetime) -> Probe | None:
        """Try on a canary what the credentials could destroy. Never leaves the target weaker than it was.

        Raises `DrError` where not even a canary can be written or read.
        """
        return None

    def versions(self, store: ObjectStore) -> S3Versions | None:
        """Return a store of it with the versions it may keep; None for a kind without, or a store that is a view."""
        return None

    def locks(self) -> S3Bucket | None:
        """Return its root opened with what may extend locks; None for a kind without."""
        return None

    def object_lock(self, store: ObjectStore) -> str:
        """Return the lock that it says it enforces, "off" for none; nothing where it does not say."""
        return ""

    def lock_on_top(self, store: ObjectStore, name: str) -> tuple[datetime | None, bool]:
        """Return until when an object is locked, and whether it is under a legal hold."""
        return None, False

    def first_use(self) -> Path:
        """Mark the disk that is there now as this target's; return its path."""
        raise UsageError(f"{self.name!r} is not a disk", hint="there is nothing to confirm")

    def plan_bucket(self, *, credentials: Credentials | None, principal: str | None) -> BucketPlan:
        """Return the steps from what is there to what is declared. Changes nothing. `UsageError` where none are."""
        noun = self.target.declared.noun
        hint = "it is made by the first backup; see `dr target check`"
        raise UsageError(f"the target {self.name!r} is a {noun}", hint=hint)
