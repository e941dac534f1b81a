"""The one way a run happens: opened, carried out, closed with one record, sent to the targets it reached.

A verb says what it does and what its record is when it came to nothing; all else is here, the same for each verb.
Nothing else opens a run or puts a record onto the chain, so that no verb can forget a run that failed, was
interrupted, or could not be told to the targets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from dr.catalog.values import Locked
from dr.errors import LOCKED, OK, DrError, InterruptedRunError, code_of, every_error
from dr.evidence.fact import Fact, RecordKind
from dr.evidence.record import Outcome
from dr.evidence.seal import Sealed
from dr.late_dataclass import dataclass
from dr.operations.heal import heal, with_healed
from dr.plan.declarations import Loaded
from dr.run.workspace.toolbox import Place
from dr.session import Session, new_id
from dr.tools import activity, line, retry

R = TypeVar("R", bound=Fact)
T = TypeVar("T")


#: Whoever recovers waits for a target as long as it may take to come back: nothing else is to be had.
_URGENT = ("drill", "recovery")
#: Whose records tell how large a repository was when it was listed.
_LISTING = ("verify", "expire", "prune")


@dataclass
class Run:
    """A run at work, as its verb is given it.

    The verb notes here which places it `reached` (the record is sent there), what else is to be told (`problems`),
    until when points are `locked`, and the `exit_code` where the outcome of the record does not say it.
    """

    session: Session
    loaded: Loaded
    run_id: str
    started: datetime
    reached: list[Place] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    details: Mapping[str, Sequence[str]] = field(default_factory=dict)
    locked: list[Locked] = field(default_factory=list)
    exit_code: int | None = None
    #: Whether the record is on every place that was reached; known once it was sent.
    sent: bool = False
    _began: float = field(default_factory=time.monotonic)
    _kept: list[Callable[[], None]] = field(default_factory=list)
    _sent: list[Callable[[], Iterable[str] | None]] = field(default_factory=list)

    @property
    def system(self) -> str:
        """The system that the run is of."""
        return self.loaded.plan.system

    def clock(self) -> datetime:
        """Return the time, as the monotonic clock counts it from the start: a clock that is set does not bend it."""
        return self.started + timedelta(seconds=time.monotonic() - self._began)

    def once_kept(self, step: Callable[[], None]) -> None:
        """Do a step of the catalog's own right after the record is in it. Its failure ends the command."""
        self._kept.append(step)

    def once_sent(self, step: Callable[[], Iterable[str] | None]) -> None:
        """Do a step in the end, and tell what it returns. Its failure is a problem, and takes nothing back."""
        self._sent.append(step)


@dataclass(frozen=True, kw_only=True)
class Finished(Generic[R]):
    """What a run came to: its record, the exit code it deserves, and what else is to be told.

    `sealed` is None where nothing was put on record; `seconds` are what it took, whatever clock was set meanwhile.
    `details` are names for the person who asked, not for the evidence.
    """

    record: R
    exit_code: int
    sealed: Sealed | None = None
    problems: tuple[str, ...] = ()
    hint: str = ""
    details: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def digest(self) -> str:
        """The digest of the sealed record; "" where nothing was put on record."""
        return self.sealed.digest if self.sealed else ""

    @property
    def absent(self) -> bool:
        """Whether nothing was done, and nothing is wrong: a disk that is away."""
        return self.record.outcome == "skipped" and self.exit_code == OK


@dataclass(frozen=True, kw_only=True)
class Verb(Generic[R]):
    """A kind of run: its name in the catalog, how its run ids begin, and its record when it came to nothing.

    `nothing` is given the run, why it ended, and the outcome that deserves. `code` says the exit code that a record
    deserves, where its outcome alone does not; `hint` what to type next, once it is on record.
    """

    name: RecordKind
    prefix: str
    nothing: Callable[[Run, DrError, Outcome], R]
    code: Callable[[R], int] | None = None
    hint: Callable[[Run, R], str] | None = None


def run_of(session: Session, loaded: Loaded, verb: Verb[R]) -> Run:
    """Return a run that is not opened yet, from now on."""
    started = session.clock()
    return Run(session, loaded, new_id(verb.prefix, started), started)


def carry_out(run: Run, verb: Verb[R], act: Callable[[Run], R], *, scenario: str = "") -> Finished[R]:
    """Open a run, do it, and put it on record; the caller holds what the verb must hold.

    An interruption is recorded as `aborted`, and any other error as `failed`. Only the catalog's own failure, and
    what would have to be told of it, is raised.
    """
    session, began = run.session, time.monotonic()
    heal(session, run.system)
    session.begin(run.loaded, verb.name, run.run_id, started=run.started, scenario=scenario)
    patience = retry.budget_for(run.loaded.plan.objectives.rpo) if verb.name not in _URGENT else retry.BUDGET_SECONDS
    start = _heart_beats(run, verb.name)
    with activity.run(verb.name, run.system, run.run_id), retry.within(patience), _line(run, verb.name):
        record = with_healed(session, _done(run, verb, act), run.system)
        if session.meters:
            record = _with_traffic(session, record, run.system)
        sealed, hint = _keep(run, record), ""
        code, seconds = _code(run, verb, record), time.monotonic() - began
        activity.ended(record.outcome, exit_code=code, seconds=round(seconds, 3))
    if verb.hint:
        with session.beside(run.system):
            hint = verb.hint(run, record)
    if verb.name in _LISTING:
        _keep_size(session, record, run.system)
    _count_late(session, run.system)
    log = "\n".join(
        (f"{verb.name} of {run.system}: {record.outcome}", getattr(record, "error", None) or "", *run.problems)
    )
    if start:
        from dr.operations import heartbeat

        heartbeat.ended(session, run.system, verb.name, run.run_id, code=code, log=log.strip(), start=start)
    return replace(_finished(run, verb, record, sealed, hint), seconds=seconds)


def _heart_beats(run: Run, verb: str) -> threading.Thread | None:
    """Say that a run begins, where somebody is to know; return what its end waits for."""
    if run.session.declarations.site.heartbeat is None:
        return None
    from dr.operations import heartbeat

    return heartbeat.begun(run.session, run.system, verb, run.run_id)


def _with_traffic(session: Session, record: R, system: str) -> R:
    from dr.operations.traffic import with_traffic

    return with_traffic(session, record, system)


def _keep_size(session: Session, record: Fact, system: str) -> None:
    from dr.operations.sizes import keep_size

    with session.beside(system):
        keep_size(session, record, system)


def _count_late(session: Session, system: str) -> None:
    if session.meters:
        from dr.operations.traffic import count_late

        count_late(session, system)


def _line(run: Run, verb: str) -> AbstractContextManager[None]:
    """What is timed has the line for itself."""
    limits = run.loaded.site.limits
    return nullcontext() if verb in _URGENT else line.held_to(upload=limits.upload, download=limits.download)


def foresee(run: Run, verb: Verb[R], act: Callable[[Run], R]) -> Finished[R]:
    """Do what only looks, as `carry_out` would do it: nothing is opened, and nothing put on record."""
    return _finished(run, verb, _done(run, verb, act), None)


def _done(run: Run, verb: Verb[R], act: Callable[[Run], R]) -> R:
    try:
        with every_error():
            return act(run)
    except DrError as error:
        run.exit_code = error.exit_code
        return verb.nothing(run, error, outcome_of(error))


def _finished(run: Run, verb: Verb[R], record: R, sealed: Sealed | None, hint: str = "") -> Finished[R]:
    return Finished(
        record=record,
        exit_code=_code(run, verb, record),
        sealed=sealed,
        problems=tuple(run.problems),
        hint=hint,
        details=run.details,
    )


def _code(run: Run, verb: Verb[R], record: R) -> int:
    if verb.code:
        return verb.code(record)
    return code_of(record.outcome) if run.exit_code is None else run.exit_code


def _keep(run: Run, record: Fact) -> Sealed:
    """Put the record on the chain and on the places that were reached, and do what was to follow."""
    sealed = run.session.catalog.record(record, run.locked)
    for step in run._kept:
        step()
    with activity.step("send evidence"):
        run.sent = run.session.send_evidence(run.reached, run.system)
    for late in run._sent:
        with run.session.beside(run.system):
            run.problems += late() or ()
    return sealed


def put_on_record(session: Session, record: Fact, places: Callable[[], Iterable[Place]] = tuple) -> Sealed:
    """Put an act of a moment onto the chain, which no run was opened for, and send it to the places of its system.

    A place that cannot be reached is a problem of the session: the next run sends it there.
    """
    sealed = session.catalog.record(record)
    with session.beside(sealed.system):
        session.send_evidence(list(places()), sealed.system)
    return sealed


def unless_locked(holding: AbstractContextManager[None], act: Callable[[], T], otherwise: Callable[[DrError], T]) -> T:
    """Do something under a lock; where another run has it, return what `otherwise` makes of that. Nothing waits."""
    try:
        with holding:
            return act()
    except DrError as error:
        if error.exit_code != LOCKED:
            raise
        return otherwise(error)


def not_begun(
    run: Run, verb: Verb[R], error: DrError, *, outcome: Outcome = "skipped", code: int | None = None
) -> Finished[R]:
    """Return what a run came to that was never opened: it is told, and not put on record."""
    return Finished(record=verb.nothing(run, error, outcome), exit_code=error.exit_code if code is None else code)


def came_to_nothing(kind: Callable[..., R], run: Run, error: DrError, outcome: Outcome, **about: object) -> R:
    """Return the record of a run that came to nothing, of a kind; `about` is what that has beside what all have."""
    return kind(
        run_id=run.run_id, system=run.system, started=run.started, finished=run.session.clock(), outcome=outcome,
        error=str(error), error_hint=error.hint, plan_digest=run.loaded.digest, **about,
    )  # fmt: skip


def outcome_of(error: DrError) -> Outcome:
    """Return the outcome of what ended by an error."""
    return "aborted" if isinstance(error, InterruptedRunError) else "failed"
