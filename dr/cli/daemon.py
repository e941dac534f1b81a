"""`dr daemon`: the same as `dr run` from cron, resident; ends cleanly on SIGTERM. Sole user of schedule.

It wakes by the monotonic clock, which nobody can set, and asks then what is due now, in UTC: no change of the time of
day, back or forth, of summer time or of the time zone, keeps it from looking.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING

import click

from dr.cli.context import Context, pass_context
from dr.errors import OK, DrError, Fault, Problem, every_error
from dr.late_dataclass import dataclass
from dr.plan.unchanged import Unchanged
from dr.plan.window import HeldBack

if TYPE_CHECKING:
    from dr.operations.failed_units import Stuck
    from dr.session import Session

log = logging.getLogger("dr.daemon")


@click.command("daemon")
@click.option(
    "--every", default=60, show_default=True, type=click.IntRange(1, 3600), help="Seconds between looks at what is due."
)
@click.option("--once", is_flag=True, help="Look once, then end.")
@click.option("--listen", metavar="ADDRESS:PORT", help="Serve GET /metrics for Prometheus on this loopback address.")
@pass_context
def daemon_command(context: Context, every: int, once: bool, listen: str | None) -> None:
    """Stay, look every minute at what is due, and do it. Plans are read again when a file of theirs was touched.

    Ends with 0 when it is told to end; with --once, as `dr run` would.
    """
    from dr.cli.metrics import serving
    from dr.tools.systemd import Notifier

    systemd, pace = Notifier(), _Pace(every)
    with serving(context, listen) as at:
        context.say(f"looking every {every} s at what is due; SIGTERM ends it")
        if at:
            context.say(f"metrics: http://{at}/metrics")
        systemd.tell("READY=1", f"STATUS=looking every {every} s at what is due")
        systemd.watch(pace.is_well)
        try:
            with suppress(KeyboardInterrupt):  # a SIGTERM between two looks
                _stay(context, pace, once=once)
        finally:
            systemd.stop("STOPPING=1")
    if not once:
        context.codes.clear()
    context.ended(OK)
    context.say("stopped")


@dataclass
class _Pace:
    """Whether the daemon goes round. A look may take as long as its drills; the wait after it may not."""

    every: int
    looking: bool = False
    turned: float = field(default_factory=time.monotonic)

    def is_well(self) -> bool:
        """Whether it is at work, or was not long ago."""
        return self.looking or time.monotonic() - self.turned < 2 * self.every + 60


def _stay(context: Context, pace: _Pace, *, once: bool) -> None:
    """Look again and again until a signal ends it, or once."""
    import schedule

    from dr.tools import command

    scheduler, said = schedule.Scheduler(), _Said()
    scheduler.every(pace.every).seconds.do(_look, context, said)
    while True:
        began, pace.looking = time.monotonic(), True
        scheduler.run_all()  # not what is pending: schedule keeps naive local times, and waits while these go back
        pace.turned, pace.looking = time.monotonic(), False
        if once or command.wait_for_stop(max(0.0, began + pace.every - time.monotonic())):
            return


@dataclass
class _Said:
    """What the last look read, and complained of: what stays wrong is said once, not every minute."""

    faults: set[Fault] = field(default_factory=set)
    problems: set[Problem] = field(default_factory=set)
    held_back: set[HeldBack] = field(default_factory=set)
    error: str = ""
    stuck: Stuck | None = None
    unchanged: Unchanged = field(default_factory=Unchanged)


def _look(context: Context, said: _Said) -> None:
    """One look. A failure is said and the daemon stays: the next look may find the world fixed."""
    from dr.cli.metrics import left
    from dr.cli.run import say_all
    from dr.operations.run_due import run_due
    from dr.session import Session

    log.info("looking at what is due")
    context.errors.clear()
    context.warnings.clear()  # who stays for months keeps none
    session, before = Session(context.config_dir, context.state_dir, unchanged=said.unchanged), said.error
    said.error = ""
    try:
        with every_error():
            done = run_due(session)
            unread = session.declarations.unread
            for fault in unread:
                if fault not in said.faults:
                    context.fault(fault)
            now = {*done.faults, *unread}
            done.faults = tuple(fault for fault in done.faults if fault not in said.faults)
            said.faults = now
            say_all(context, done)
            context.tell_held_back([each for each in session.held_back if each not in said.held_back])
            said.held_back = set(session.held_back)
            _unstuck(session, said)
            problems = [*session.problems, *filter(None, [left(session)])]
            context.tell_problems(problem for problem in problems if problem not in said.problems)
            said.problems = set(problems)
    except DrError as error:
        said.error = str(error)
        if said.error != before:
            context.failed(error)
        if not said.stuck:
            said.stuck = _stuck(context, session, error)
    finally:
        session.close()


def _unstuck(session: Session, said: _Said) -> None:
    """Tell that something can be done again, once."""
    if said.stuck:
        from dr.operations.failed_units import note_unstuck

        stuck, said.stuck = said.stuck, None
        note_unstuck(session, stuck)


def _stuck(context: Context, session: Session, error: DrError) -> Stuck | None:
    """Return that nothing can be done since the catalog takes nothing, once the channels are told; else None."""
    from dr.operations.failed_units import note_stuck

    try:
        with every_error():
            return note_stuck(session, error)
    except DrError as failed:
        context.failed(failed)
        return None
    finally:
        context.tell_problems(session.problems)
