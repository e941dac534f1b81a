"""Telling: what went wrong since the last look, and what is well again, to each channel once.

Done in the end of what runs. Nothing here makes a run fail: a channel that takes nothing is a problem on the board, is
said in one line, and is tried again later.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dr.catalog.notices import ChannelState
from dr.errors import OK, DrError, InterruptedRunError, LockedError, Problem, every_error
from dr.evidence.notice import Notice, notices_of
from dr.evidence.problem import SystemProblem
from dr.late_dataclass import dataclass
from dr.notify.deliver import deliver
from dr.notify.message import Message, compose
from dr.operations import summaries
from dr.plan import cadence
from dr.plan.declarations import Loaded
from dr.plan.window import opens
from dr.queries.status import HEARTBEAT, BoardRow, board, channel_problem, site_problems, unusable_plans
from dr.session import Session
from dr.tools import command

if TYPE_CHECKING:
    from dr.plan.site import Channel

#: How long to wait while another process tells.
PATIENCE_SECONDS = 60.0
#: A channel that failed is tried again after a minute, then after twice the time each, up to this.
LONGEST_WAIT = timedelta(hours=1)


def tell(session: Session) -> None:
    """Tell each channel of `site.yaml` what it does not know yet. Raises an interruption only."""
    channels = session.declarations.site.notify
    if not channels or command.stopping():
        return
    with _harmless(session, "notify"), _alone(session):
        now = session.clock()
        session.catalog.notices.forget([HEARTBEAT, *(channel.name for channel in channels)])
        failing = _try_failing(session, channels, now)
        seen = _look(session)
        for channel in sorted(channels, key=lambda each: each.name not in failing):
            with _harmless(session, f"notify: {channel.name}"):
                _tell_one(session, channel, seen, now)


def _try_failing(session: Session, channels: Sequence[Channel], now: datetime) -> set[str]:
    """Return the channels that take nothing. Where several do, each is first told of itself, if it takes that: what
    they would be told of each other was seen before they came back."""
    states = session.catalog.notices.channels()
    failing = [each for each in channels if each.name in states and states[each.name].failing]
    for channel in failing if len(failing) > 1 else ():
        if _is_due(session, channel, states[channel.name], now):
            with _harmless(session, f"notify: {channel.name}"):
                sent(session, channel, _of_itself(session, states[channel.name]), states[channel.name])
    return {each.name for each in failing}


def _of_itself(session: Session, state: ChannelState) -> Message:
    """Return the message that a channel takes notices again: true, if it is taken."""
    problem = channel_problem(state)
    (notice,) = notices_of([problem])
    id = f"again-{state.name}-{state.failing:%Y%m%dT%H%M%SZ}"
    return compose([replace(notice, well=True)], id=id, organisation=session.declarations.site.organisation)


def _is_due(session: Session, channel: Channel, state: ChannelState, now: datetime) -> bool:
    """Whether a channel may be sent something now: it is open, and not to be left alone since it failed."""
    if opens(channel.hours or (), session.declarations.site.timezone, now) != now:
        return False
    return not (state.next_try and now < state.next_try <= now + LONGEST_WAIT)


@dataclass(frozen=True)
class _Seen:
    """What is wrong now; which systems were judged, and which there are."""

    notices: tuple[Notice, ...]
    judged: frozenset[str]
    declared: frozenset[str]
    rows: tuple[BoardRow, ...]
    items: tuple[Loaded, ...]


def _look(session: Session) -> _Seen:
    whole, now = session.declarations, session.clock()
    items = tuple(whole.plans[name] for name in sorted(whole.plans) if not whole.stopping([name]))
    rows = tuple(board(session, items)) if items else ()
    problems: list[SystemProblem] = [problem for entry in rows for problem in entry.row.problems]
    problems += [*site_problems(session), *unusable_plans(whole)]
    notices = (replace(each, since=each.since or now) for each in notices_of(problems))
    judged = frozenset(loaded.plan.system for loaded in items)
    declared = frozenset({*whole.files.values(), *whole.plans}) | judged
    return _Seen(tuple(notices), judged, declared, rows, items)


def _tell_one(session: Session, channel: Channel, seen: _Seen, now: datetime) -> None:
    notices = session.catalog.notices
    states = notices.channels()
    true = [each for each in seen.notices if not _came_back(each, states)]
    present = {notice.identity for notice in true}

    def over(notice: Notice) -> bool | None:
        if notice.system and notice.system not in seen.declared:
            return None
        looked = not notice.system or notice.system in seen.judged or notice.problem == "plan_unusable"
        return looked and notice.identity not in present

    found = [notice for notice in true if _matches(channel, notice)]
    notices.reconcile(channel.name, found, judged=over, wants_well="recovered" in channel.kinds)
    state = states.get(channel.name, ChannelState(name=channel.name))
    if not _is_due(session, channel, state, now):
        return
    organisation = session.declarations.site.organisation
    for claim, some in notices.claims(channel.name, new_id):
        message = compose(some, id=claim, organisation=organisation)
        try:
            state = sent(session, channel, message, state)
        except DrError:
            notices.release(channel.name, claim)
            raise
        notices.confirm(channel.name, claim)
    _summaries(session, channel, seen, state)


def _came_back(notice: Notice, states: Mapping[str, ChannelState]) -> bool:
    """Whether a notice tells of a channel that has taken something since it was looked."""
    return notice.problem == "channel_failed" and not states[notice.subject].failing


def _matches(channel: Channel, notice: Notice) -> bool:
    return (
        notice.kind in channel.kinds
        and (channel.systems is None or notice.system in channel.systems)
        and notice.severity in channel.severities
        and (notice.problem, notice.subject) != ("channel_failed", channel.name)
    )


def sent(session: Session, channel: Channel, message: Message, state: ChannelState) -> ChannelState:
    """Send a message, and keep how the channel fares. Raises `DrError` when it took nothing."""
    now = session.clock()
    try:
        with every_error():
            refused = deliver(channel, message)
    except InterruptedRunError:
        raise
    except DrError as error:
        wait = min(timedelta(minutes=2**state.tries), LONGEST_WAIT) if state.tries < 8 else LONGEST_WAIT
        what = error.sentence
        failing = state.failing or now
        session.catalog.notices.keep(
            replace(state, failing=failing, error=what, tries=state.tries + 1, next_try=now + wait)
        )
        raise
    well = replace(state, failing=(state.failing or now) if refused else None, error=refused, tries=0, next_try=None)
    if well != state:
        session.catalog.notices.keep(well)
    return well


def _summaries(session: Session, channel: Channel, seen: _Seen, state: ChannelState) -> None:
    """Send the digest and the report when they are due; the first time counts from now on."""
    now, zone = session.clock(), session.declarations.site.timezone
    made: dict[str, tuple[str | None, Callable[[str], Message]]] = {
        "digest": (channel.digest, lambda id: summaries.digest_of(session, seen.rows, seen.notices, id)),
        "report": (channel.report, lambda id: summaries.report_of(session, seen.items, id)),
    }
    for name, (text, make) in made.items():
        if text is None or text == "never":
            continue
        last: datetime | None = getattr(state, name)
        due = cadence.parse(text, zone).due(last, now)
        if last is not None and due > now:
            continue
        if last is not None:
            state = sent(session, channel, make(f"{name}-{channel.name}-{due:%Y%m%dT%H%M%SZ}"), state)
        state = replace(state, digest=now) if name == "digest" else replace(state, report=now)
        session.catalog.notices.keep(state)


def new_id() -> str:
    """Return a new id of a message."""
    return f"dr-{secrets.token_hex(8)}"


@contextmanager
def _harmless(session: Session, where: str) -> Iterator[None]:
    """A failure to tell is said, and neither ends nor changes what it was to tell of."""
    try:
        with every_error():
            yield
    except InterruptedRunError:
        raise
    except DrError as error:
        session.problem(Problem.of(error, where, exit_code=OK))


@contextmanager
def _alone(session: Session) -> Iterator[None]:
    """Hold the lock of those who tell; wait a while for another who does. Then that one's end or the next run tells."""
    waited = 0.0
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(session.state.hold("notify", what="another process is sending notices"))
                break
            except LockedError:
                if waited >= PATIENCE_SECONDS or command.wait_for_stop(0.5):
                    raise
                waited += 0.5
        yield
