"""What is wrong with where a plan keeps its copies: its targets and its replicas."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dr.plan.on_disk import Found, Key
from dr.plan.plan import Plan
from dr.plan.target import Target
from dr.plan.units import format_duration
from dr.plan.whereabouts import IsHere

DAY = 86_400
#: A replica that forgets sooner follows its primary too closely to help against what is noticed late.
SHORTEST = 7 * DAY


def places(plan: Plan, targets: Mapping[str, Target]) -> Iterator[Found]:
    """Yield the faults of a plan's targets and replicas. Two in one place are one copy."""
    seen: dict[tuple[str, ...], str] = {}
    before: set[str] = set()
    for at, name in _all(plan):
        if name in before:
            yield _twice(plan, at, name)
        elif name not in targets:
            hint = f"targets: {', '.join(sorted(targets))}" if targets else "add its file in targets/"
            yield at, f"there is no usable target {name!r}", hint, "refused"
        else:
            yield from _offline(at, targets[name])
            yield from _inside(plan, at, targets[name])
            yield from _forgets(at, targets[name])
            place = targets[name].place
            if place in seen:
                what = f"the targets {seen[place]!r} and {name!r} lie in the same place: that is one copy"
                yield at, what, "give each a place of its own", "refused"
            seen.setdefault(place, name)
        before.add(name)


def _all(plan: Plan) -> Iterator[tuple[Key, str]]:
    yield from ((("targets", number), name) for number, name in enumerate(plan.targets))
    yield from ((("replicas", number), name) for number, name in enumerate(plan.replicas))


def _twice(plan: Plan, at: Key, name: str) -> Found:
    if at[0] == "replicas" and name in plan.targets:
        what = f"the replica {name!r} is a target too: backups write there, and a replica is never written by backups"
        return at, what, "keep it under targets, or under replicas", "refused"
    return at, f"the target {name!r} stands twice", "keep one", "refused"


def _offline(at: Key, target: Target) -> Iterator[Found]:
    if target.offline and at[0] == "targets":
        what = f"the target {target.target!r} is offline at times: backups to it would fail then"
        yield at, what, "name it under replicas", "unsound"


def offsite(target: Target, is_here: IsHere) -> Iterator[Found]:
    """Yield that a service is on this very host, where a copy is not offsite whatever was declared."""
    if target.offsite is not False and target.lies_here(is_here):
        declared = "`offsite: true` is contradicted: " if target.offsite else ""
        what = f"{declared}the service of {target.target!r} is on this very host, so a copy there is not offsite"
        hint = "use a service in another place, or write `offsite: false`"
        yield (
            ("offsite",) if target.offsite else (target.kind, target.declared.address_key),
            what,
            hint,
            "unsound" if target.offsite else "advice",
        )


def forgetting(target: Target) -> Iterator[Found]:
    """Yield what is unwise in how soon a replica on a target forgets."""
    delay, rules = target.forget_after, target.locks
    if delay is None:
        return
    if delay < SHORTEST:
        what = f"a replica that forgets after {format_duration(delay)} leaves little time to notice what went wrong"
        yield ("forget_after",), what, f"write {format_duration(SHORTEST)} or more; 90d is a good begin", "advice"
    if rules.mode != "none" and delay < rules.days * DAY:
        what = f"it forgets after {format_duration(delay)}, and locks for {rules.days} days: what goes stays below"
        yield ("forget_after",), what, f"write {rules.days}d or more", "advice"


def _forgets(at: Key, target: Target) -> Iterator[Found]:
    if target.forget_after is not None and at[0] == "targets":
        what = f"the target {target.target!r} has `forget_after`, which is for replicas: backups write there"
        yield at, what, "remove it, or name the target under replicas", "unsound"


def _inside(plan: Plan, at: Key, target: Target) -> Iterator[Found]:
    """A target inside a source makes each backup hold all before it."""
    home = target.declared.directory
    for source, declared in plan.sources.items():
        for path in declared.body.local_paths if home else ():
            if Path(os.path.realpath(home or "")).is_relative_to(os.path.realpath(path)):
                what = (
                    f"the target {target.target!r} lies inside the source {source!r}: each backup holds all before it"
                )
                yield at, what, "move it, or leave it out with an exclude", "advice"
