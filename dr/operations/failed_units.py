"""A unit of systemd that failed by itself: killed, never started, or ended before it could tell anybody.

What `dr run` finds wrong it tells itself, in its end. What ends it before that, it cannot: then systemd starts
`dr-failed@.service`, and that calls `dr notify failed`. Which of the two it was the run's own mark says: it bears the
id that systemd gave this start of the unit. A failed unit is a problem of the site until a run comes to its end again;
it is told like any other, once and once when it is over. Where the catalog cannot be written, so that nobody knows who
was told of what, the channels are told without it, and a file keeps them from being told twice.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field, replace

from dr.errors import DrError, InterruptedRunError, PlanError, Problem, UsageError, every_error
from dr.evidence.notice import Notice, notices_of
from dr.late_dataclass import dataclass
from dr.notify.deliver import deliver
from dr.notify.message import compose
from dr.operations.tell import new_id, tell
from dr.queries.status import FAILED_UNITS, failed_units, unit_places, unit_problems
from dr.session import Session
from dr.tools.network import is_this_host

#: The last start of the unit that came to its end and told what it found.
_TOLD = "told-by-itself"
#: The unit that stays: see `dr systemd`.
_DAEMON = "dr-daemon.service"
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,255}")
#: By what systemd calls the result of a unit (systemd.exec(5), $SERVICE_RESULT), what befell it.
_BEFELL = {
    "oom-kill": "was killed for want of memory",
    "timeout": "did not end or start in the time that its unit gives it, and was killed",
    "watchdog": "gave no sign of life to systemd, and was killed",
    "core-dump": "crashed",
    "start-limit-hit": "failed so often that systemd starts it no more",
    "resources": "could not be started by systemd for want of resources",
    "protocol": "did not tell systemd what it should",
}


@dataclass(frozen=True)
class Stuck:
    """That the daemon can do nothing; `told` is what the channels know of it and no file does, by unit."""

    told: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def note_failed(session: Session, unit: str, env: Mapping[str, str]) -> str:
    """Tell the channels that a unit failed, unless it told them itself; return what befell it, "" where it did.

    `env` is the environment that systemd gives to what `OnFailure=` starts (systemd.exec(5), $MONITOR_…). May be called
    again: nobody is told twice. Raises `UsageError` for what is not a unit's name.
    """
    if not _UNIT.fullmatch(unit):
        raise UsageError(f"{unit[:80]!r} is not the name of a unit", "dr notify failed", hint="see `dr systemd`")
    if _told_itself(session, env):
        tell(session)
        return ""
    known, why = failed_units(session.state), _befell(env)
    entry = known.get(unit) or {"since": f"{session.clock():%Y-%m-%dT%H:%M:%SZ}", "why": why}
    if _is_writable(session):
        _write(session, {**known, unit: entry})
        tell(session)
    elif not entry.get("directly"):
        _tell_directly(session, {unit: entry})
        _write(session, {**known, unit: {**entry, "directly": "yes"}})
    return why


def note_stuck(session: Session, error: DrError) -> Stuck | None:
    """Tell the channels that the daemon stays and can do nothing, where that is since the catalog takes nothing.

    Once, until a run comes to its end again, if there is a place that takes a note of it; else for as long as the
    daemon keeps what is returned. None where it is not so.
    """
    if _is_writable(session):
        return None
    known = failed_units(session.state)
    if known.get(_DAEMON, {}).get("directly"):
        return Stuck()
    since = f"{session.clock():%Y-%m-%dT%H:%M:%SZ}"
    entry = {"since": since, "why": f"can do nothing ({error})", "directly": "yes"}
    _tell_directly(session, {_DAEMON: entry})
    noted = _write_first(session, FAILED_UNITS, json.dumps({**known, _DAEMON: entry}))
    return Stuck({} if noted else {_DAEMON: entry})


def note_unstuck(session: Session, stuck: Stuck) -> None:
    """Tell the channels that it is over, where no place took a note of it: else the run that ended did."""
    if stuck.told:
        _tell_directly(session, stuck.told, well=True)


@contextmanager
def telling_itself(session: Session) -> Iterator[None]:
    """Mark that a run came to its end and told what it found, also where no plan could be used."""
    try:
        yield
    except PlanError:
        _mark(session)
        raise
    _mark(session)


def units_run_again(session: Session) -> None:
    """Note that no unit fails by itself any more: a run has come to its end. What was told without the catalog is
    over in the same way.
    """
    known = failed_units(session.state)
    if not known:
        return
    directly = {unit: entry for unit, entry in known.items() if entry.get("directly")}
    for place in unit_places(session.state):
        with suppress(OSError):
            (place / FAILED_UNITS).unlink(missing_ok=True)
    if directly and not failed_units(session.state):
        _tell_directly(session, directly, well=True)


def _befell(env: Mapping[str, str]) -> str:
    result, status = env.get("MONITOR_SERVICE_RESULT", ""), env.get("MONITOR_EXIT_STATUS", "")
    if result == "signal":
        return f"was killed by the signal {status}"
    if result == "exit-code":
        return f"ended with {status} before it could tell anybody"
    return _BEFELL.get(result, f"failed ({result})" if result else "failed")


def _told_itself(session: Session, env: Mapping[str, str]) -> bool:
    if env.get("MONITOR_SERVICE_RESULT") != "exit-code" or not env.get("MONITOR_INVOCATION_ID"):
        return False
    for place in unit_places(session.state):
        with suppress(OSError, UnicodeDecodeError):
            if (place / _TOLD).read_text("utf-8") == env["MONITOR_INVOCATION_ID"]:
                return True
    return False


def _mark(session: Session) -> None:
    if given := os.environ.get("INVOCATION_ID", ""):
        _write_first(session, _TOLD, given)


def _write(session: Session, units: Mapping[str, Mapping[str, str]]) -> None:
    if not _write_first(session, FAILED_UNITS, json.dumps(units)):
        hint = "make room, or make it writable"
        raise DrError("that a unit failed cannot be noted", str(session.state), hint=hint)


def _write_first(session: Session, name: str, text: str) -> bool:
    """Write a file in one step at the first place that takes it; return whether one did."""
    for place in unit_places(session.state):
        with suppress(OSError):
            new = place / f"{name}.new"
            new.write_text(text, "utf-8")
            new.replace(place / name)
            return True
    return False


def _is_writable(session: Session) -> bool:
    """Whether the catalog takes who was told of what."""
    try:
        with every_error():
            session.catalog.remember("", "unit", session.clock().isoformat())
    except InterruptedRunError:
        raise
    except DrError:
        return False
    return True


def _tell_directly(session: Session, units: Mapping[str, Mapping[str, str]], *, well: bool = False) -> None:
    """Send each channel what befell units, whatever it was told before. A channel that takes nothing is a problem."""
    from dr.plan.load import load  # few looks end so

    site = load(session.config, is_here=is_this_host).site
    notices: list[Notice] = [replace(each, well=well) for each in notices_of(unit_problems(units))]
    message = compose(notices, id=new_id(), organisation=site.organisation)
    for channel in site.notify:
        if "silence" not in channel.kinds or (well and "recovered" not in channel.kinds):
            continue
        try:
            with every_error():
                deliver(channel, message)
        except InterruptedRunError:
            raise
        except DrError as error:
            session.problem(Problem.of(error, f"notify: {channel.name}"))
