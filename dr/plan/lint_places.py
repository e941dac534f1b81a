"""What is wrong with where a plan keeps its copies: its targets and its replicas."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dr.plan.lint_hosts import Found, Key
from dr.plan.plan import Plan
from dr.plan.target import Target


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


def _inside(plan: Plan, at: Key, target: Target) -> Iterator[Found]:
    """A target inside a source makes each backup hold all before it."""
    place = target.place
    for source, declared in plan.sources.items():
        for path in declared.files.paths if declared.files and place[0] == "local" else ():
            if Path(place[1]).is_relative_to(os.path.realpath(path)):
                what = (
                    f"the target {target.target!r} lies inside the source {source!r}: each backup holds all before it"
                )
                yield at, what, "move it, or leave it out with an exclude", "advice"
