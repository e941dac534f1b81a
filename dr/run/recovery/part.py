"""Which part of a source is restored: the files that a person named, or those that show a drill of lost files.

The second are what the plan's file checks name; when that is nothing, one file picked by the drill's id.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from dr.errors import DrError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.late_dataclass import dataclass
from dr.run.recovery.checks.pattern import bases_of, below, for_restic, literal
from dr.run.recovery.compare import chosen
from dr.run.recovery.selected import include_of, pattern_of
from dr.run.recovery.state import Recovery
from dr.sources.attributes import COVERED
from dr.sources.driver import MANIFEST

#: So many files are asked of restic by name.
_FEW = 200


@dataclass(frozen=True)
class Part:
    """Which paths of a source to restore: for us, and for restic. `listed` is how many files there are."""

    only: re.Pattern[bytes]
    include: list[str]
    listed: int


def _bases(recovery: Recovery, name: str) -> Sequence[str]:
    """Return the paths that the plan declares of a source, where it is still as it was captured."""
    return recovery.toolbox.plan.pattern_bases[name] if recovery.as_declared(name) else ("/",)


def _bare(bases: Sequence[str]) -> set[bytes]:
    """Return declared paths as entries of a manifest have them, without the first slash."""
    return {os.fsencode(os.path.normpath(path)).strip(b"/") for path in bases}


def named(recovery: Recovery, name: str, listed: Path) -> Part | None:
    """Return what a person named of this source; None where it holds nothing of that.

    Of files that go back where they were, those that are the same there are not brought, unless there are many others.
    """
    bases, paths = _bases(recovery, name), recovery.request.paths
    only = pattern_of(bases, paths)
    count, alone = _write_named(bases, listed, only, named_of(recovery, name))
    if not count:
        return None
    if recovery.request.in_place and (few := _few_others(recovery, name, listed, only)) is not None:
        forms = [re.escape(path.lstrip(b"/")) for path in few]
        return Part(
            re.compile(b"|".join(forms) or b"(?!)", re.DOTALL), [literal(os.fsdecode(path)) for path in few], count
        )
    return Part(only, include_of(bases, paths, alone=alone), count)


def named_of(recovery: Recovery, name: str) -> Path:
    """Return where the part of a manifest lies that a person named: who works with that need not read the whole."""
    return recovery.apart(name) / f"{MANIFEST}.named"


def _write_named(bases: Sequence[str], listed: Path, only: re.Pattern[bytes], to: Path) -> tuple[int, set[bytes]]:
    """Write the part of a manifest that was named, having read it whole.

    Return how many entries that are, and which declared paths are files by themselves.
    """
    own, alone, count = _bare(bases), set[bytes](), 0

    def counted() -> Iterator[Entry]:
        nonlocal count
        for entry in chosen(listed, only):
            count += 1
            if entry.kind == "file" and (bare := entry.path.lstrip(b"/")) in own:
                alone.add(bare)
            yield entry

    manifest.write(to, manifest.header(listed), counted())
    return count, alone


def include_any(recovery: Recovery, name: str) -> list[str]:
    """Return restic's patterns for what a person named, whether the declared paths are folders or files."""
    bases, paths = _bases(recovery, name), recovery.request.paths
    own = _bare(bases)
    return list(dict.fromkeys(include_of(bases, paths, alone=set()) + include_of(bases, paths, alone=own)))


def _few_others(recovery: Recovery, name: str, listed: Path, only: re.Pattern[bytes]) -> list[bytes] | None:
    """Return the files that are not the same where they were; None where there are many, or folders among them."""
    from dr.run.recovery.place.live_places import place_of

    few, covered = list[bytes](), bool(manifest.header(listed).get(COVERED))
    plan = recovery.toolbox.plan
    bases, declared = bases_of(plan.sources.get(name)), plan.host_of(name) if name in plan.sources else None
    with place_of(bases, declared, attributes=covered) as place:
        wanted = (each for each in chosen(listed, only) if each.state != "unreadable" and each.kind != "other")
        for entry, judged in place.judged(wanted):
            if judged.standing == "same":
                continue
            few.append(entry.path)
            if len(few) > _FEW or entry.kind == "dir":
                return None
    return few


def picked_by_checks(recovery: Recovery, name: str, listed: Path) -> Part:
    """Return what the plan's file checks name; when that is nothing, one file picked by the seed."""
    bases = _bases(recovery, name)
    checks = [check.body for check in recovery.toolbox.plan.drill.checks if check.source == name]
    named = [wanted for body in checks if (wanted := body.sampled_path) is not None]
    only = re.compile(b"|".join(below(bases, each).pattern for each in named) or b"(?!)", re.DOTALL)
    own, alone, files = _bare(bases), set[bytes](), _Files()
    count, any_named = 0, False
    for entry in chosen(listed, None):
        count += entry.kind != "dir"
        files.add(entry)
        if entry.kind == "file":
            bare = entry.path.lstrip(b"/")
            any_named = any_named or only.fullmatch(bare) is not None
            if bare in own:
                alone.add(bare)
    include = [form for each in named for form in for_restic(bases, each, alone=alone)]
    if not any_named:
        path = files.picked(listed, f"{recovery.request.drill_id}/{name}")
        only, include = re.compile(re.escape(path), re.DOTALL), [literal(os.fsdecode(b"/" + path))]
    return Part(only, include, count)


class _Files:
    """Counts the files of which one may be picked: those with content, and where there is none of them the others."""

    def __init__(self) -> None:
        self._whole = self._filled = 0

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        if entry.kind == "file" and entry.state == "ok":
            self._whole += 1
            self._filled += entry.size > 0

    def picked(self, listed: Path, seed: str) -> bytes:
        """Pick one file of a manifest; the same seed picks the same file. Raises `DrError` where there is none."""
        most = self._filled or self._whole
        if not most:
            raise DrError(
                "the point holds no file to restore from this source",
                hint="drill the whole system: --scenario system-loss",
            )
        number = random.Random(seed).choice(range(most))  # noqa: S311 - picks, hides nothing
        files = (entry for entry in chosen(listed, None) if entry.kind == "file" and entry.state == "ok")
        pool = (entry for entry in files if entry.size or not self._filled)
        return next(islice(pool, number, None)).path.lstrip(b"/")
