"""What is left of a recovery point that is not whole, for who named it: what lacks is said, no part passes for whole.

Such a recovery is degraded and counts for no objective. A file whose bytes are damaged is not left in its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dr.errors import DamageError, DrError
from dr.evidence.record import CheckResult
from dr.plan.units import counted
from dr.run.recovery.state import Recovery

#: Below the directory of a recovery: files that came back damaged, by source.
ASIDE = ".damaged"


def tell_lacks(recovery: Recovery) -> None:
    """Say what the point does not hold whole: by the record of its capture, and by what the restore showed.

    Raises `DamageError` when nothing of it came back.
    """
    if not any(item.files for item in recovery.restored.values()) and recovery.chosen.point.bytes != 0:
        first = next(iter(recovery.lost.values()), None)
        where, hint = recovery.chosen.place.repository.where, "name another point, or another target with --target"
        raise first or DamageError("nothing of the point could be restored", where, hint=hint)
    lacks = list(recovery.request.lacks)
    told = " ".join(lacks)
    for name in sorted(recovery.toolbox.plan.sources.keys() - recovery.chosen.copy.snapshots.keys()):
        recovery.not_whole.add(name)
        if f"{name}:" not in told:
            lacks.append(f"{name}: it is not in the point")
    for name, error in sorted(recovery.lost.items()):
        recovery.not_whole.add(name)
        lacks.append(f"{name}: nothing of it could be restored ({error.what})")
        if name in recovery.instances:
            with suppress(DrError):  # of a host that is gone: the site's end says so
                recovery.instances.pop(name).close()
    for name, item in recovery.restored.items():
        if item.complaints:
            recovery.not_whole.add(name)
            lacks.append(f"{name}: {counted(len(item.complaints), 'item')} could not be restored whole")
    for what in lacks or ["it is recorded as not whole"]:
        recovery.lacks.append(what)
        recovery.journal.note(f"lacking: {what}", outcome="degraded")


def soften(results: Iterable[CheckResult], recovery: Recovery) -> list[CheckResult]:
    """Let no check fail a recovery for what is known to lack; those of sources that are whole count as ever."""
    if not recovery.lacks:
        return list(results)
    lame = recovery.not_whole

    def one(result: CheckResult) -> CheckResult:
        excused = result.outcome == "failed" and (result.source is None or result.source in lame)
        return replace(result, mandatory=False) if excused else result

    return [one(result) for result in results]


def set_aside(recovery: Recovery) -> None:
    """Take damaged files out of their place, where they look like whole ones, to `ROOT/.damaged/SOURCE/PATH`."""
    for name, item in recovery.restored.items():
        if not item.complaints or item.poured:
            continue
        damaged = [path for source, problem, path in recovery.names if (source, problem) == (name, "differs")]
        moved = sum(_move(item.root, recovery.root / ASIDE / name, path) for path in damaged)
        if moved:
            where = recovery.root / ASIDE / name
            recovery.journal.note(f"{counted(moved, 'damaged file')} of {name} put aside: {where}", outcome="degraded")


def _move(root: Path, aside: Path, path: bytes) -> bool:
    name = os.fsdecode(path).lstrip("/")
    place, there = root / name, aside / name
    if place.is_symlink() or not place.is_file():
        return False
    there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.replace(there)
    return True
