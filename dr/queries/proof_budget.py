"""Plans whose `proof` can never read all that is stored within its bound, by what the last proofs saw there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from dr.errors import Fault
from dr.evidence.system_status import PlaceState
from dr.plan.declarations import Loaded
from dr.plan.document import read
from dr.plan.plan import Plan
from dr.plan.site_file import read_site
from dr.plan.units import format_bytes, format_duration, spell_bytes
from dr.run.verification.rotation import ReadingRule
from dr.session import Session

_DAY = 86_400


def unreachable(session: Session, items: Sequence[Loaded]) -> Iterator[Fault]:
    """Yield a fault for each target that holds more than the runs within the plan's bound may read, or can in time.

    Asks the catalog alone; what was never proven has no size yet, and how much is read in time only runs tell that
    used up their minutes.
    """
    if not session.state.catalog.exists():
        return
    states = session.catalog.place_states([each.plan.system for each in items], now=session.clock())
    for loaded in items:
        for name in loaded.plan.places:
            state = states.get(loaded.plan.system, {}).get(name)
            if state and (found := _too_little(loaded.plan, state)):
                yield from _at(session.config, loaded, "budget", *found)
            elif state and (found := _too_slow(session, loaded.plan, state)):
                yield from _at(session.config, loaded, "minutes", *found)


def _at(config: Path, loaded: Loaded, key: str, what: str, hint: str) -> Iterator[Fault]:
    document = read(loaded.path)
    if not isinstance(document, list):  # it was read a moment ago
        yield read_site(config).lend(document).fault(("proof", key), what, hint, severity="unsound")


def _too_little(plan: Plan, state: PlaceState) -> tuple[str, str] | None:
    """Return what is wrong and what to write instead; None where all can be read, or nobody knows."""
    rule, size = ReadingRule.of(plan), state.stored_bytes or 0
    budget = plan.proof.budget
    if rule.interval is None or rule.reads_all(size) or budget * rule.runs >= size:
        return None
    within = format_duration(rule.whole_within)
    reads = f"the verifications read at most {spell_bytes(budget)} each, {rule.runs} within {within}"
    what = f"{state.target} holds {format_bytes(size)}, and {reads}: level 2 is never reached there"
    days = math.ceil((math.ceil(size / budget) + 1) * rule.interval / _DAY)
    enough = _round_up(math.ceil(size / max(1, rule.runs - 1)))
    return what, f"under `proof` write `budget: {spell_bytes(enough)}` or more, or `whole_within: {days}d` or more"


def _too_slow(session: Session, plan: Plan, state: PlaceState) -> tuple[str, str] | None:
    """Return the same of the time that a run has for reading, by the most that one read which used it up."""
    rule, size = ReadingRule.of(plan), state.stored_bytes or 0
    if rule.interval is None or rule.reads_all(size):
        return None
    fits = max(_read_in_time(session, plan, state.target, rule), default=0)
    if not fits or fits * rule.runs >= size:
        return None
    within = format_duration(rule.whole_within)
    reads = (
        f"in {plan.proof.minutes} minutes the verifications read at most {format_bytes(fits)}, {rule.runs} in {within}"
    )
    what = f"{state.target} holds {format_bytes(size)}, and {reads}: level 2 is never reached there"
    minutes = math.ceil(plan.proof.minutes * size / max(1, rule.runs - 1) / fits)
    days = math.ceil((math.ceil(size / fits) + 1) * rule.interval / _DAY)
    return what, f"under `proof` write `minutes: {minutes}` or more, or `whole_within: {days}d` or more"


def _read_in_time(session: Session, plan: Plan, target: str, rule: ReadingRule) -> Iterator[int]:
    """Yield how much each of the runs within the bound read that ended for want of time, and not of its budget."""
    since = session.clock() - timedelta(seconds=rule.whole_within)
    for record in session.catalog.stored(("verify",), systems=[plan.system], since=since):
        body = json.loads(record.text)
        read = int((body.get("coverage") or {}).get("read_bytes", 0))
        timed_out = body.get("seconds", 0) >= (rule.limit or math.inf) and read < plan.proof.budget
        if body.get("target") == target and timed_out and not body.get("error"):
            yield read


def _round_up(size: int) -> int:
    """Return a size (bytes) in whole units, so that people like to write it."""
    unit = next((unit for unit in (1 << 30, 1 << 20, 1 << 10) if size >= unit), 1)
    return math.ceil(size / unit) * unit
