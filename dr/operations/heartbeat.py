"""What the heartbeat is told: that a run begins, how it ended, and that `dr run` looked at what is due.

Nothing here harms a run: what the service does not take is said, is a problem on the board, and costs ten seconds of a
command at most.
"""

from __future__ import annotations

import time
from threading import Thread

from dr.catalog.notices import ChannelState
from dr.errors import OK, WORST_FIRST, DrError, InterruptedRunError, Problem, every_error
from dr.queries.status import HEARTBEAT
from dr.session import Session

#: What pings: a real recovery, and what people do by hand, is missed by nobody.
VERBS = frozenset({"backup", "verify", "drill", "replicate", "expire", "prune"})


def begun(session: Session, system: str, verb: str, run_id: str) -> Thread | None:
    """Say that a run begins, beside it: a drill is timed. Return what `ended` waits for."""
    if verb not in VERBS:
        return None
    beside = Thread(target=_ping, args=(session, (system, verb), "start", run_id), daemon=True)
    beside.start()
    return beside


def ended(session: Session, system: str, verb: str, run_id: str, *, code: int, log: str, start: Thread | None) -> None:
    """Say how a run ended: of a verb that runs for several targets the worst so far."""
    if start is None:
        return
    start.join()  # it ends by itself, in time
    before = session.beats.get((system, verb), OK)
    session.beats[system, verb] = worst = min(before, code, key=WORST_FIRST.index)
    _ping(session, (system, verb), str(worst), run_id, log)


def looked(session: Session) -> None:
    """Say that `dr run` looked at what is due: so is missed a cron that no longer starts it."""
    _ping(session, ("run",), str(OK), "")


def _ping(session: Session, check: tuple[str, ...], signal: str, run_id: str, log: str = "") -> None:
    declared = session.declarations.site.heartbeat
    if declared is None or session.beat_seconds_left <= 0:
        return
    from dr.notify import heartbeat
    from dr.sources.secret import read_secret

    began, problem = time.monotonic(), ""
    try:
        with every_error():
            base = read_secret(declared.url, "heartbeat")
            seconds = min(heartbeat.SECONDS, session.beat_seconds_left)
            problem = heartbeat.ping(
                base, heartbeat.slug(*check), signal=signal, run_id=run_id, log=log, seconds=seconds
            )
    except InterruptedRunError:
        return
    except DrError as error:
        problem = error.sentence
    if problem:
        session.beat_seconds_left -= time.monotonic() - began
        hint = "see the service and its address; the run itself is not concerned"
        session.problem(Problem(f"the heartbeat was not taken: {problem}", "heartbeat", hint, OK))
    _keep(session, problem)


def _keep(session: Session, problem: str) -> None:
    """Keep since when it fails, for the board and for notices."""
    notices = session.catalog.notices
    known = notices.channels().get(HEARTBEAT, ChannelState(name=HEARTBEAT))
    failing = (known.failing or session.clock()) if problem else None
    if known.failing != failing or known.error != problem:
        notices.keep(ChannelState(name=HEARTBEAT, failing=failing, error=problem))
