"""A plan's places made into live tools: repositories, stores, sources, scratch space.

Nothing is reached over the network here: a toolbox can be made while every target is down.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dr.errors import AbsentError, DrError, TargetDownError
from dr.evidence.look import NOTHING, Known
from dr.late_dataclass import dataclass
from dr.run.workspace.breaker import Breaker
from dr.targets.driver import TargetDriver
from dr.targets.kinds import driver_of
from dr.tools.restic import Repository
from dr.tools.store import ObjectStore

if TYPE_CHECKING:
    from dr.plan.plan import Plan
    from dr.plan.target import Target
    from dr.sources.driver import SourceDriver
    from dr.tools.host import Host
    from dr.tools.meter import Meter
    from dr.tools.state_dir import StateDir


@dataclass(frozen=True)
class Place:
    """One target of a plan: its repository, the objects of that repository, its evidence, and its whole root.

    A replica's repository is the primary's, copied, and opens with its passphrase.
    """

    name: str
    target: Target
    repository: Repository
    store: ObjectStore
    evidence: ObjectStore
    root: ObjectStore | None = None
    known: Known = NOTHING  # what is on record of its repository
    breaker: Breaker | None = None
    meter: Meter | None = None  # of all that passes to and from it

    def reach(self) -> None:
        """Raise unless the target answers and lets us in; at once where it was just seen down by another system."""
        if self.breaker is None or not self.target.reached_from_elsewhere:
            self.store.reachable()
        else:
            self.breaker.guard(self._ask)

    def _ask(self) -> None:
        """Ask for one object: a service that is down behind its door takes connections all the same."""
        self.store.reachable()
        self.store.exists("config")

    def seen_down(self, error: DrError) -> None:
        """Note for other systems that the target went down amid the work, where that is what ended it."""
        if self.breaker and self.target.reached_from_elsewhere and isinstance(error, TargetDownError):
            self.breaker.note(error)

    @property
    def system(self) -> str:
        """The system that the repository is of."""
        return self.repository.host

    @functools.cached_property
    def driver(self) -> TargetDriver:
        """The driver of the target's kind."""
        return driver_of(self.target, meter=self.meter)

    def object_lock(self) -> str:
        """Return the lock that the bucket says it enforces, "off" for none; nothing where none is declared."""
        return "" if self.target.locks.mode == "none" else self.driver.object_lock(self.store)


def deleting(place: Place) -> Repository:
    """Return a place's repository opened with what may delete there. Raises as `TargetDriver.deleting` does."""
    opened = place.driver.deleting().env
    own = {name: value for name, value in place.repository.env.items() if name.startswith("RESTIC_")}
    return replace(place.repository, env={**opened, **own})


def is_detached(place: Place) -> bool:
    """Whether the place is a disk that may be taken away, and is."""
    try:
        if place.target.offline:
            place.store.reachable()
    except AbsentError:
        return True
    except DrError:
        return False  # something else is wrong with it: who uses it will say so
    return False


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """All that the verbs need of one plan. `plan_dir` is where the plan's relative commands start.

    Backups write to `places`, the primary first; to `replicas` objects are copied.
    """

    plan: Plan
    digest: str
    state: StateDir
    plan_dir: Path
    places: tuple[Place, ...]
    replicas: tuple[Place, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    installation: str = ""  # whose points are its own; "" where that is not asked

    @property
    def everywhere(self) -> tuple[Place, ...]:
        """Every place that holds copies, in the order in which a recovery prefers them."""
        return (*self.places, *self.replicas)

    def place(self, name: str) -> Place:
        """Return the place of that name, a replica too; `KeyError` when the plan has none."""
        return {place.name: place for place in self.everywhere}[name]

    def source(self, name: str) -> SourceDriver:
        """Return the doors of the source of that name."""
        from dr.sources.hosts import open_agent, open_host
        from dr.sources.kinds import open_source

        declared, program = self.plan.host_of(name), self.places[0].repository.program
        host = open_host(declared)
        return open_source(
            name,
            self.plan.sources[name],
            host=host,
            agent=open_agent(declared, host, program),
            scratch=[self.state.cache, self.state.work, self.state.sandboxes],
            questions=tuple(self._questions(name)),
        )

    def _questions(self, source: str) -> Iterator[tuple[str | None, str]]:
        """The queries whose answers at capture a check compares."""
        for check in self.plan.drill.checks:
            if check.source == source and (query := check.body.captured_query):
                yield query

    def host(self) -> Host:
        """Return the host that the plan names for the system: this one when it names none."""
        from dr.sources.hosts import open_host

        return open_host(self.plan.host)

    def work(self) -> Path:
        """Return this system's scratch directory, empty: what a killed run left is swept away.

        Its name is constant, because restic finds a snapshot's parent by its paths. Only the holder of
        the system's lock may ask.
        """
        path = self.state.work / self.plan.system
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o700)
        return path

    def sweep_work(self) -> None:
        """Remove the scratch directory."""
        shutil.rmtree(self.state.work / self.plan.system, ignore_errors=True)
