"""What people did beside backups and drills: to keys, kits, holds, targets and the catalog. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from dr.evidence.acts import (
    Expiration,
    HoldEvent,
    KeyChange,
    KeyEvent,
    KitAct,
    Mounting,
    NewBeginning,
    Pruning,
    Rebuild,
    Repair,
    Rewind,
    Trust,
)
from dr.evidence.fact import Fact
from dr.evidence.record import Outcome
from dr.evidence.seal import Sealed
from dr.late_dataclass import dataclass
from dr.plan.plan import Plan
from dr.plan.units import format_bytes
from dr.report.phrases import counted, day, when

#: The kinds of record that are acts.
KINDS = ("keys", "kit", "hold", "trust", "rewind", "repair", "rebuild", "beginning", "expire", "prune", "mount")


@dataclass(frozen=True, kw_only=True)
class Act:
    """One act in words. `system` is "" where it is of all; `by` is a user name, where one was recorded."""

    at: datetime
    kind: str
    run_id: str
    system: str
    title: str  # of the system
    what: str
    why: str
    by: str
    outcome: Outcome
    problem: str
    digest: str

    @property
    def reason(self) -> str:
        """Why, and who said so; nothing where no reason is recorded."""
        return f"{self.why} (said by {self.by})" if self.by else self.why


@dataclass(frozen=True)
class _Said:
    """What differs from kind to kind."""

    what: str
    why: str = ""
    by: str = ""
    problem: str = ""


def acts_of(records: Iterable[Sealed], plans: Mapping[str, Plan]) -> tuple[Act, ...]:
    """Return the acts among some records, newest first; records of other kinds are left out."""
    told = (record for record in records if record.kind in KINDS and not _is_idle(record.fact))
    return tuple(reversed([_act(record, plans) for record in told]))


def _is_idle(fact: Fact) -> bool:
    """Whether retention was looked after, nothing was to go, and nothing went wrong."""
    if isinstance(fact, Expiration):
        return fact.outcome == "ok" and not fact.expired
    return isinstance(fact, Pruning) and fact.outcome == "ok" and not fact.points and not fact.objects


def _act(record: Sealed, plans: Mapping[str, Plan]) -> Act:
    fact, plan = record.fact, plans.get(record.system)
    said = _in_words(fact)
    return Act(
        at=fact.finished,
        kind=record.kind,
        run_id=record.ref,
        system=record.system,
        title=(plan.title if plan else "") or record.system or "All systems",
        what=said.what,
        why=said.why,
        by=said.by,
        outcome=fact.outcome,
        problem=said.problem,
        digest=record.digest,
    )


def _in_words(fact: Fact) -> _Said:
    match fact:
        case KeyEvent():
            return _keys(fact)
        case KitAct():
            return _kit(fact)
        case HoldEvent():
            until = f" until {day(fact.until)}" if fact.until else ""
            on = f"the point {fact.point}" if fact.point else "all points"
            return _Said(f"a hold on {on} {fact.act}{until}", fact.reason)
        case Trust():
            said = f"the point {fact.point} trusted" + (f", although {fact.suspect}" if fact.suspect else "")
            return _Said(said, fact.because, fact.by)
        case NewBeginning():
            given_up = f"{counted(len(fact.points), 'recovery point')} given up on {fact.target}"
            return _Said(f"{given_up}, where {fact.found} was found", fact.because, fact.by)
        case Mounting():
            which = fact.newest if fact.points == 1 else f"{fact.oldest} to {fact.newest}"
            shown = f"{counted(fact.points, 'recovery point')} on {fact.target} mounted, to be read: {which}"
            return _Said(shown, fact.because, fact.by)
        case Rewind():
            return _rewind(fact)
        case Repair():
            return _repair(fact)
        case Expiration():
            return _expiration(fact)
        case Pruning():
            what = f"a prune of {fact.target or 'a target'}: {freed_in_words(fact)}"
            done = f"of {counted(len(fact.points), 'point')} that had expired" if fact.points else ""
            return _Said(f"{what} {done}".rstrip(), problem=fact.error or "")
        case Rebuild():
            found = f"{counted(fact.points, 'point')} and {counted(fact.records, 'record')}"
            if number := sum(last - first + 1 for first, last in (*fact.put_back, *fact.set_aside)):
                found += f"; {counted(number, 'record')} of the catalog had been altered"
            return _Said(f"a rebuild of the catalog from the targets: {found}", problem=fact.error or "")
        case _:
            raise ValueError(f"{type(fact).__name__} is not an act")


# -- retention -----------------------------------------------------------------------------------------


def _expiration(fact: Expiration) -> _Said:
    if not fact.target:  # it was interrupted
        return _Said("an expiration", problem=fact.error or "")
    last = [point for point in fact.expired if not point.left_on]
    what = f"{counted(len(fact.expired), 'recovery point')} removed from {fact.target}"
    if fact.expired:
        what += f", the newest of {when(fact.expired[-1].consistency_time)}"
    if last and fact.versions_stay:
        until = f", locked until {day(fact.destroyable_from)}" if fact.destroyable_from else ""
        what += f"; {len(last)} of them are on no other target and stay there as versions{until}"
    elif last:
        what += f"; {counted(len(last), 'point')} of them nobody can recover any more"
    rules = dict.fromkeys(point.rule for point in fact.expired)
    return _Said(what, why="; ".join(rules), problem="; ".join(filter(None, (fact.error, *fact.blocked))))


def freed_in_words(fact: Pruning) -> str:
    """Return what a prune freed, if it came to list what is left. What locks or versions keep is not freed."""
    if fact.stored_bytes is None:
        return "what it freed is not known"
    if fact.hidden_bytes:
        until = f", locked until {day(fact.destroyable_from)}" if fact.destroyable_from else ""
        return f"nothing is freed yet, {format_bytes(fact.hidden_bytes)} stay below as versions{until}"
    return f"{format_bytes(fact.freed_bytes)} freed"


# -- keys ----------------------------------------------------------------------------------------------

#: Neither says that it came to pass: that is the outcome's to say.
_WANTED = {
    "escrow": "a new escrow key", "rotation": "a new passphrase", "destruction": "destruction of the keys"
}  # fmt: skip


def _keys(fact: KeyEvent) -> _Said:
    done = [change.target for change in fact.targets if change.outcome in ("ok", "degraded")]
    what = _WANTED[fact.what] + (f" on {', '.join(done)}" if done else "")
    if fact.points:
        what += f": {counted(len(fact.points), 'recovery point')} nobody can read any more"
    return _Said(what, problem="; ".join(filter(None, (fact.error, *_unfinished(fact.targets)))))


def _unfinished(changes: Iterable[KeyChange]) -> Iterator[str]:
    for change in changes:
        if change.error:
            yield f"{change.target}: {change.error}"
        if change.left:
            yield f"{change.target}: {counted(len(change.left), 'old key')} left"


# -- kits and targets ------------------------------------------------------------------------------------


def _kit(fact: KitAct) -> _Said:
    head = f"the recovery kit {fact.kit_id}".rstrip()
    problem = "; ".join(filter(None, (fact.error, *fact.stale)))
    if fact.act == "tested":
        opened = sum(each.opened for each in fact.repositories)
        shares = f" with the shares {', '.join(map(str, fact.shares))}" if fact.shares else ""
        told = f": {opened} of {counted(len(fact.repositories), 'repository', 'repositories')} opened"
        return _Said(f"{head} tested{shares}{told if fact.repositories else ''}", problem=problem)
    number, shares = len(fact.custodians), counted(len(fact.custodians), "share")
    opens = f": any {fact.threshold} of its {shares} open it" if fact.custodians else ""
    opens = f": it opens with all of its {shares}" if number and fact.threshold == number else opens
    opens += f" ({', '.join(fact.custodians)})" if fact.custodians else ""
    made = "made" if fact.act == "made" else "made in place of another"
    return _Said(f"{head} {made}{opens}", problem=problem)


def _rewind(fact: Rewind) -> _Said:
    if not fact.target:  # it was interrupted
        return _Said("a rewind", problem=fact.error or "")
    done = fact.uncovered + fact.copied
    what = f"a rewind of {fact.target} to {when(fact.moment)}: {done} of {counted(fact.objects, 'object')} brought back"
    what += f", {fact.verified} read back"
    lost = f"{counted(len(fact.failed), 'object')} could not be" if fact.failed else ""
    return _Said(what, problem="; ".join(filter(None, (fact.error, lost))))


def _repair(fact: Repair) -> _Said:
    if not fact.target:  # it was interrupted
        return _Said("a repair", problem=fact.error or "")
    told = "; ".join(fact.done) or "nothing was to be done"
    what = f"a repair of the repository on {fact.target}: {told}; then proven to level {fact.level_reached}"
    return _Said(what, why=fact.problem, problem="; ".join(filter(None, (fact.error, *fact.left))))
