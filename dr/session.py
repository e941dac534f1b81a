"""A session: one invocation's declarations, catalog, tools and clock, each made when first needed."""

from __future__ import annotations

import functools
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import dr
from dr.catalog.store import Catalog
from dr.errors import CatalogError, DrError, Fault, InterruptedRunError, Problem, RefusedError, UsageError, every_error
from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.plan.declarations import Declarations, Loaded
from dr.plan.window import Held, HeldBack, opens
from dr.tools import command
from dr.tools.network import is_this_host
from dr.tools.state_dir import StateDir

if TYPE_CHECKING:
    from dr.plan.unchanged import Unchanged
    from dr.run.recovery.place.side_by_side import SideBySide
    from dr.run.workspace.toolbox import Place, Toolbox
    from dr.tools.meter import Meter

T = TypeVar("T")


def utc_now() -> datetime:
    """The one place that reads the wall clock."""
    return datetime.now(UTC)


#: The ids that this process gave of late: many systems begin in one second, and six digits would meet in time.
_given: set[str] = set()


def new_id(prefix: str, at: datetime) -> str:
    """Return a new run id: `prefix` and the time, and six random hex digits. No two of one process are the same."""
    if len(_given) >= 10_000:
        _given.clear()
    while (made := f"{prefix}{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}") in _given:
        pass
    _given.add(made)
    return made


@dataclass
class Session:
    """What one command works with. Safe to share between the threads of that command."""

    config: Path
    state: StateDir
    clock: Callable[[], datetime] = utc_now
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    #: The targets that this command reached: where the self-copy goes in its end (`dr.operations.self_backup`).
    reached: dict[str, Place] = field(default_factory=dict, repr=False)
    #: What went wrong beside the work, or in one system while others were done: told in the end, whatever the verb.
    problems: list[Problem] = field(default_factory=list, repr=False)
    #: What is due and was not begun, since its window is closed.
    held_back: list[HeldBack] = field(default_factory=list, repr=False)
    #: What earlier processes left and this command put right, and no record holds yet: whose it was, and a sentence.
    healed: list[tuple[str, str]] = field(default_factory=list, repr=False)
    #: Whether nobody sits at the terminal (`dr run`, `dr daemon`): what was seen a few minutes ago still counts then.
    unattended: bool = False
    #: The drills at work, where several are held at once (`dr.operations.side_by_side`).
    restores: SideBySide | None = field(default=None, repr=False)
    #: The worst exit code that the heartbeat was told of each system and verb, and what it may still cost this command.
    beats: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)
    beat_seconds_left: float = 10.0
    #: Whether this command changes nothing: it then works on a state directory that cannot be written, too.
    reading: bool = False
    #: What a process that stays keeps of the declarations from one look to the next.
    unchanged: Unchanged | None = field(default=None, repr=False)
    #: Why the state directory cannot be written, where a command that only reads went on.
    unwritable: DrError | None = field(default=None, repr=False)
    #: What passes to and from each target for each system, since it was last put on record.
    meters: dict[tuple[str, str], Meter] = field(default_factory=dict, repr=False)
    _done: set[str] = field(default_factory=set, repr=False)
    _guard: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _turns: dict[str, threading.Semaphore] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def declarations(self) -> Declarations:
        """All plans and targets, with all their faults."""
        if self.unchanged is None:
            return self._declared()
        from dr.plan.unchanged import stamp_of

        stamp, now = stamp_of(self.config), self.clock()
        if (found := self.unchanged.same(stamp, now=now)) is None:
            self.unchanged.keep(found := self._declared(), stamp, now=now)
        return found

    def _declared(self) -> Declarations:
        from dr.plan.kept import declared

        with suppress(CatalogError):
            if self._catalog_there():
                found = declared(self.config, self.catalog, is_here=is_this_host)
                self.catalog.notice(list(found.plans), now=self.clock())
                return found
        return declared(self.config, None, is_here=is_this_host)

    @functools.cached_property
    def catalog(self) -> Catalog:
        """The catalog in the state directory, made when absent; for who only reads one that is not writable, a copy."""
        with self._guard:
            self._make_state()
            return Catalog.open(self.state if self.unwritable is None else self._copied(self.unwritable))

    def _make_state(self) -> None:
        try:
            self.state.make()
            if self.reading:
                self.state.require_room()
        except DrError as error:
            if not self.reading:
                raise
            self.unwritable = error

    def _copied(self, unwritable: DrError) -> StateDir:
        """Return a directory of this process with a copy of the catalog; raises `unwritable` where there is none."""
        from tempfile import TemporaryDirectory

        self._aside = TemporaryDirectory(prefix="dr-")  # removed with the session
        if not Catalog.copied(self.state, aside := StateDir(Path(self._aside.name))):
            raise unwritable
        return aside

    @property
    def installation(self) -> str:
        """The id of this installation: all that it stores bears it. Beside the catalog, whose loss it outlives."""
        path = self.state.installation
        known = path.read_text("utf-8").strip() if path.is_file() else ""
        if not known:
            known = self.catalog.installation()
            path.write_text(f"{known}\n", "utf-8")
        return known

    def take_over(self, made_by: str) -> None:
        """Go on as the installation that made what a rebuild found."""
        self.catalog.take_over(made_by)
        self.state.installation.write_text(f"{made_by}\n", "utf-8")

    def close(self) -> None:
        """Close the catalog, if it was opened."""
        if "catalog" in self.__dict__:
            self.catalog.close()

    def _catalog_there(self) -> bool:
        return self.state.catalog.exists()

    @property
    def _memory(self) -> Catalog | None:
        with suppress(CatalogError):
            return self.catalog if self._catalog_there() else None
        return None

    @functools.cached_property
    def restic(self) -> str:
        """The restic program."""
        from dr.tools.restic_program import find_restic

        return find_restic(os.environ, memory=self._memory)

    @functools.cached_property
    def versions(self) -> dict[str, str]:
        """What ran: for the evidence."""
        from dr.tools.restic_program import version

        return {
            "dr": dr.__version__,
            "restic": ".".join(map(str, version(self.restic, self._memory))),
            "python": sys.version.split()[0],
            "system": " ".join((os.uname().sysname, os.uname().release)),
        }

    @functools.cached_property
    def versions_here(self) -> dict[str, str]:
        """What there is here, also where restic is missing: reading the record needs none."""
        try:
            return self.versions
        except DrError:
            return {"dr": dr.__version__, "python": sys.version.split()[0]}

    def chosen(self, systems: Sequence[str], *, everything: bool = False) -> list[Loaded]:
        """Return the plans asked for, in recovery order; refuses faulty and unknown ones.

        Raises `UsageError` when nothing was asked for or the system is unknown, `PlanError` with all
        faults when a plan cannot be used.
        """
        known = self.declarations.plans
        names = sorted(known) if everything else list(dict.fromkeys(systems))
        self.declarations.require(() if everything else names)
        for name in names:
            if name not in known:
                what, hint = f"there is no plan for the system {name!r}", _known(sorted(known))
                raise UsageError(what, str(self.config), hint=hint)
        if not names:
            if known:
                raise UsageError("no system was named", hint="name a system, or use --all")
            raise UsageError(f"there are no plans in {self.config / 'plans'}", hint="run `dr init` to make a first one")
        return sorted((known[name] for name in names), key=lambda item: (item.plan.priority, item.plan.system))

    def usable(self) -> tuple[list[Loaded], tuple[Fault, ...]]:
        """Return the plans that can be used, in recovery order, and the faults that stop the others.

        For what runs unattended: a typo in one plan stops no other system. Raises as `chosen` when none can be used.
        """
        whole = self.declarations
        good = whole.usable
        if not good:
            return self.chosen((), everything=True), ()
        return self.chosen(good), (*whole.of_site, *whole.stopping(()))

    def toolbox(self, loaded: Loaded, *, known: bool = False) -> Toolbox:
        """Return the live tools of a plan; `known`: by what is kept of it and its targets, the rest read when asked."""
        from dr.run.workspace.open_toolbox import open_toolbox

        with self._guard:
            restic, versions = self.restic, self.versions
        self._make_state()
        return open_toolbox(
            loaded.plan if known else loaded.read.plan,
            self.declarations.targets if known else self.declarations.read.targets,
            digest=loaded.digest,
            state=self.state,
            plan_dir=loaded.path.parent,
            restic=restic,
            versions=versions,
            known=self.catalog.repositories(loaded.plan.system) if self._catalog_there() else {},
            installation=self.installation if self._catalog_there() else "",
            limits=loaded.site.limits,
            clock=self.clock,
            begun=self.begun,
            unattended=self.unattended,
            meters=self.meters,
        )

    def begin(self, loaded: Loaded, verb: str, run_id: str, *, started: datetime, scenario: str = "") -> None:
        """Note that a run begins, with its plan as it is now, before its first step."""
        self.catalog.open_run(
            run_id=run_id,
            verb=verb,
            system=loaded.plan.system,
            scenario=scenario,
            started=started,
            plan_digest=loaded.digest,
            plan_text=self.catalog.plan_text(loaded.digest) or loaded.text,  # what is kept needs no reading
        )

    def points(self, *items: Loaded) -> list[Point]:
        """Return the points of some systems, newest first, their copies in the plan's order: the primary first."""
        orders = {item.plan.system: {name: i for i, name in enumerate(item.plan.places)} for item in items}

        def in_order(point: Point) -> Point:
            order = orders[point.system]
            return replace(point, copies=tuple(sorted(point.copies, key=lambda x: order.get(x.target, len(order)))))

        return [in_order(point) for point in self.catalog.points(list(orders))]

    @contextmanager
    def locked(self, system: str) -> Iterator[None]:
        """Hold the system's repositories against another run; `LockedError` at once when held."""
        self.state.make()
        with self.state.hold(system, what=f"{system} is in use by another run"):
            yield

    def hold_back(self, loaded: Loaded, verb: Held) -> bool:
        """Whether due work has to wait for its window; it is noted then, to be told."""
        now = self.clock()
        opening = opens(loaded.site.windows.get(verb, ()), loaded.plan.cadence.timezone, now)
        held = HeldBack(loaded.plan.system, verb, opening)
        if opening == now:
            return False
        with self._guard:
            if held not in self.held_back:
                self.held_back.append(held)
        return True

    @contextmanager
    def turn(self, loaded: Loaded) -> Iterator[None]:
        """Wait until no more systems are captured from the hosts of this one than the site allows. May be stopped."""
        most = loaded.site.limits.per_host
        hosts = {
            host.ssh.rpartition("@")[2] for each in loaded.plan.sources if most and (host := loaded.plan.host_of(each))
        }
        with ExitStack() as stack:
            for name in sorted(hosts):  # always in one order, so that nobody waits in a circle
                with self._guard:
                    free = self._turns.setdefault(name, threading.Semaphore(most or 1))
                while not free.acquire(timeout=0.5):
                    command.raise_if_stopping()
                stack.callback(free.release)
            yield

    def each(
        self, items: Sequence[Loaded], act: Callable[[Loaded], T], *, keep: bool = False, jobs: int = 0
    ) -> list[T]:
        """Do one thing for several systems side by side, at most `jobs` (the site's, the session's) at once; in order.

        The first interruption ends the rest. An error of `act` is a problem of that system, and the others' results are
        returned; it is raised where nothing else came of it all, unless the caller has results to `keep`.
        """
        if len(items) <= 1 or jobs == 1:
            found = [self._tried(item, act) for item in items]
        else:
            from concurrent.futures import ThreadPoolExecutor, as_completed

            most = jobs or items[0].site.limits.systems or self.jobs
            with ThreadPoolExecutor(min(most, len(items))) as pool:
                futures = [pool.submit(self._tried, item, act) for item in items]
                try:
                    for future in as_completed(futures):
                        if isinstance(future.exception(), InterruptedRunError):
                            break
                finally:
                    if command.stopping():
                        for future in futures:
                            future.cancel()
            found = [future.result() for future in futures if not future.cancelled()]
        errors = [(item, each) for item, each in zip(items, found, strict=False) if isinstance(each, DrError)]
        results = [each for each in found if not isinstance(each, DrError)]
        if errors and not results and not keep and len({str(error) for _, error in errors}) == 1:
            raise errors[0][1]
        for item, error in errors:
            self.problem(Problem.of(error, item.plan.system, exit_code=error.exit_code))
        return results

    @staticmethod
    def _tried(item: Loaded, act: Callable[[Loaded], T]) -> T | DrError:
        try:
            with every_error():
                return act(item)
        except InterruptedRunError:
            raise
        except DrError as error:
            return error

    @functools.cached_property
    def begun(self) -> datetime:
        """When this command began, as far as it matters: when it was first asked."""
        return self.clock()

    def once(self, what: str) -> bool:
        """Whether this is the first to ask, in this session."""
        with self._guard:
            first = what not in self._done
            self._done.add(what)
            return first

    def take_healed(self, system: str) -> tuple[str, ...]:
        """Return what was put right of a system, or of nobody's, and forget it: one record holds it."""
        with self._guard:
            taken = tuple(text for whose, text in self.healed if whose in ("", system))
            self.healed = [each for each in self.healed if each[0] not in ("", system)]
            return taken

    def problem(self, problem: Problem) -> None:
        """Note what is to be told in the end; once."""
        with self._guard:
            if problem not in self.problems:
                self.problems.append(problem)

    @contextmanager
    def beside(self, where: str) -> Iterator[None]:
        """Do what stands beside the work: where it fails that is a problem, and what the work came to stays."""
        try:
            with every_error():
                yield
        except InterruptedRunError:
            raise
        except DrError as error:
            self.problem(Problem.of(error, where))

    def send_evidence(self, places: Sequence[Place], system: str) -> bool:
        """Put the records that a target lacks beside its repository; whether all are there. Else it is a problem."""
        whole = True
        for place in places:
            try:
                with every_error():
                    self._send_evidence(place, system)
                if place.root is not None:
                    self.reached[place.name] = place
            except DrError as error:
                whole = False
                what = f"evidence could not be put on {place.name}: {error.sentence}"
                hint = error.hint or "fix the target; the next run sends it"
                self.problem(Problem(what, system, hint))
        return whole

    def _send_evidence(self, place: Place, system: str) -> None:
        """Put what a target lacks there. Where nothing counts as sent, as after a rebuild, it lists what it has.

        A record that is listed with its name, which has its hash, and its size counts as sent: `dr points rebuild`
        reads it. One that is not as it was sealed is never sent: what lies there may be whole.
        """
        there = {} if self.catalog.has_sent(system, place.name) else _evidence_sizes(place)
        while some := self.catalog.unsent(system, place.name):
            for sealed in some:
                if fault := sealed.fault():
                    hint = "see `dr audit`; the records beside the repositories stay as they are"
                    raise CatalogError(f"record {sealed.seq} of the catalog was {fault}", hint=hint)
                data = sealed.to_json()
                if there.get(sealed.name) != len(data):
                    place.evidence.put(sealed.name, data)
                    self.catalog.mark_sent(system, place.name, sealed.seq)
            self.catalog.mark_sent(system, place.name, some[-1].seq)


def _evidence_sizes(place: Place) -> dict[str, int]:
    """Return the sizes (bytes) of the evidence that a place lists, by name; nothing where that may not be asked."""
    with suppress(RefusedError):
        return {item.name: item.size for item in place.evidence.list()}
    return {}


def _known(names: list[str]) -> str:
    return f"known systems: {', '.join(names[:20])}" if names else "run `dr init` to make a first plan"
