"""What is due, and doing it, system by system, the most overdue first.

Backups, then replicas, then proofs, then what expires and is pruned, then drills. A look that finds nothing due loads
no verb: it is made every few minutes, for years.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from dr.errors import PlanError
from dr.late_dataclass import dataclass
from dr.operations import heartbeat
from dr.operations.due_done import DueDone
from dr.operations.heal import heal
from dr.operations.tell import tell
from dr.plan.declarations import Loaded
from dr.queries.schedule import VERBS, Verb, attempts_of, due_now, replicas_due
from dr.queries.status import failed_units
from dr.session import Session

#: A run that takes long tells what went wrong on the way after so long, and then again.
EVERY_SECONDS = 900.0


def run_due(session: Session) -> DueDone:
    """Do all that is due, once. Systems run side by side; one system's verbs one after the other."""
    session.unattended = True
    try:
        items, faults = session.usable()
    except PlanError:
        _units_run_again(session)
        tell(session)  # that nothing runs any more
        raise
    heal(session, far=True)
    known = attempts_of(session, items)
    wanted = {verb: _by_system(due_now(session, items, verb, known)) for verb in VERBS}
    replicated = replicas_due(session, items)
    named = _by_system(items)
    names = (*(name for verb in VERBS for name in wanted[verb]), *_by_system(replicated))
    ordered = [named[name] for name in dict.fromkeys(names)]
    done = DueDone(faults=faults)
    if ordered:
        _work(session, ordered, wanted, done)
    heartbeat.looked(session)
    fold(session)
    _units_run_again(session)
    tell(session)
    return done


def _units_run_again(session: Session) -> None:
    """Note that a run came to its end again, where a unit of systemd had failed before it could."""
    if failed_units(session.state):
        from dr.operations.failed_units import units_run_again

        with session.beside("units"):
            units_run_again(session)


def _by_system(items: Iterable[Loaded]) -> dict[str, Loaded]:
    return {loaded.plan.system: loaded for loaded in items}


def _work(
    session: Session, ordered: Sequence[Loaded], wanted: Mapping[Verb, Mapping[str, Loaded]], done: DueDone
) -> None:
    from dr.operations.due_work import Work
    from dr.operations.self_backup import save_self

    work, between = Work(session, wanted, done), _Between()

    def act(loaded: Loaded) -> None:
        work.of(loaded)
        between(session)

    session.each(ordered, act, keep=True)
    save_self(session)


@dataclass
class _Between:
    """Tells on the way too, where a run takes long: the first system's failure does not wait for the last system.

    No more than every `EVERY_SECONDS`, so that what befalls forty systems at once is still one message.
    """

    _told: float = field(default_factory=time.monotonic)
    _one: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, session: Session) -> None:
        with self._one:
            if time.monotonic() - self._told >= EVERY_SECONDS:
                tell(session)
                self._told = time.monotonic()


def fold(session: Session) -> None:
    """Let old and ordinary records take less room. It stands beside the work: the next run does what this did not."""
    with session.beside("the catalog"):
        session.catalog.fold(now=session.clock())
