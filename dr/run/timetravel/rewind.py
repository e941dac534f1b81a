"""Rewind: what is on top in a bucket put back to what it was at a time. Adds versions and lifts delete markers.

No version of any data is ever deleted. What was deleted comes back by taking its delete marker away, and where that
is forbidden, as what was overwritten: the old version is copied on top, within the service. What was added since under
a name that its bytes do not deserve is hidden behind a delete marker; what was added rightly stays. May be interrupted
and called again: it then does what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Literal

from dr.errors import DamageError, DrError, RefusedError
from dr.late_dataclass import dataclass
from dr.tools import command
from dr.tools.s3_versions import S3Versions
from dr.tools.store import Version
from dr.tools.view import View, by_name, hash_in

_THREADS = 16

Act = Literal["lift", "uncover", "hide"]
Did = Literal["intact", "uncovered", "copied", "hidden", "left", "failed"]


@dataclass(frozen=True)
class RewindStep:
    """One object to be put right: `uncover` takes the delete markers above it away, `lift` copies it on top."""

    name: str
    act: Act
    right: tuple[Version, ...] = ()
    above: tuple[Version, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rewound:
    """What was done: how many objects were intact, uncovered, copied, hidden, left; what failed, and why."""

    counts: dict[str, int]
    verified: int
    failed: dict[str, str]


def steps_to(versions: Sequence[Version], view: View) -> tuple[list[RewindStep], int]:
    """Return what is to be done so that a view is on top again, and how many objects are right already.

    In the order in which a repository is valid at every instant: data before what names it, `config` first.
    """
    steps, intact = [], 0
    for name, listed in by_name(versions).items():
        if name.startswith("locks/"):
            continue
        right = view.objects.get(name, ())
        if not right:
            steps += [RewindStep(name, "hide", above=(listed[-1],))] if hash_in(name) and not listed[-1].marker else []
        elif _alike(listed[-1], right[0]):
            intact += 1
        else:
            above = tuple(listed[listed.index(right[0]) + 1 :])
            act: Act = "uncover" if all(version.marker for version in above) else "lift"
            steps.append(RewindStep(name, act, right, above))
    order = ("config", "keys", "data", "index", "snapshots")
    rank = {part: number for number, part in enumerate(order)}
    return sorted(steps, key=lambda step: (rank.get(step.name.partition("/")[0], len(order)), step.name)), intact


def _alike(top: Version, right: Version) -> bool:
    return not top.marker and (top.etag, top.size) == (right.etag, right.size)


def rewind(
    place: S3Versions, steps: Sequence[RewindStep], *, say: Callable[[int], None] = lambda done: None
) -> Rewound:
    """Do the steps, many at once within a part of the repository, and read back all that was put on top.

    What cannot be put right is in the result; raises only when the target cannot be used at all.
    """
    counts: Counter[str] = Counter()
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for part in _parts(steps):
            command.raise_if_stopping()
            for step, (did, why) in zip(part, pool.map(lambda step: _do(place, step), part), strict=True):
                counts[did] += 1
                if why:
                    failed[step.name] = why
            say(sum(counts.values()))
    return Rewound(counts=dict(counts), verified=counts["uncovered"] + counts["copied"], failed=failed)


def _parts(steps: Sequence[RewindStep]) -> Iterator[list[RewindStep]]:
    """Yield the steps in bunches of one part of the repository, so that none overtakes what it relies on."""
    bunch: list[RewindStep] = []
    for step in steps:
        if bunch and (len(bunch) == 256 or bunch[0].name.partition("/")[0] != step.name.partition("/")[0]):
            yield bunch
            bunch = []
        bunch.append(step)
    if bunch:
        yield bunch


def _do(place: S3Versions, step: RewindStep) -> tuple[Did, str]:
    command.raise_if_stopping()
    try:
        if step.act == "hide":
            return _hide(place, step)
        if step.act == "uncover" and _uncovered(place, step):
            return "uncovered", ""
        for right in step.right:
            place.lift(right)
            if _verified(place, right):
                return "copied", ""
        return "failed", "no version of it has the bytes that its name promises"
    except (RefusedError, DamageError) as error:
        return "failed", str(error)


def _uncovered(place: S3Versions, step: RewindStep) -> bool:
    """Take away the markers above an object; False where that is forbidden, or what is below is not right."""
    try:
        for marker in reversed(step.above):
            place.delete_version(marker.name, marker.id)
    except RefusedError:
        return False
    return _verified(place, step.right[0])


def _hide(place: S3Versions, step: RewindStep) -> tuple[Did, str]:
    """Hide what was added under a name that its bytes do not deserve."""
    if place.sha256_of(step.above[0]) == hash_in(step.name):
        return "left", ""
    try:
        place.remove(step.name)
    except RefusedError:
        return "failed", "it is not an object of a repository, and may not be hidden: delete it with a key that may"
    return "hidden", ""


def _verified(place: S3Versions, right: Version) -> bool:
    """Whether what is on top is what it should be: by its name, or else by the version it came from."""
    promised = hash_in(right.name) or place.sha256_of(right)
    try:
        return bool(promised) and place.sha256(right.name)[0] == promised
    except DamageError:
        return False


def nothing_there(where: str, moment: datetime) -> DrError:
    """Return the error for a time at which a place held nothing."""
    return DrError(
        f"there was no repository at {moment:%Y-%m-%d %H:%M:%S} UTC",
        where,
        hint="see `dr target history` for the moment before an attack, and name that time with --at",
    )
