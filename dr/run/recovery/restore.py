"""The phase restore: a point's sources are brought back, each into its room; for drills and recoveries.

Everything: trees as files, streams into their services. Or samples, where files alone were lost: the files that the
plan's file checks name, else one picked by the drill's id. May be called again over what an interrupted call left:
restic completes it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dr.errors import DamageError, DrError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.evidence.manifest_parts import assemble
from dr.late_dataclass import dataclass
from dr.plan.units import format_bytes
from dr.run.recovery.checks.context import Poured, Restored
from dr.run.recovery.checks.pattern import bases_of, below, for_restic, literal
from dr.run.recovery.compare import chosen
from dr.run.recovery.place.live import LivePlace
from dr.run.recovery.place.restore_host import LAID
from dr.run.recovery.provision import of_each
from dr.run.recovery.selected import include_of, pattern_of
from dr.run.recovery.state import Recovery
from dr.sources import database_inventory as facts
from dr.sources.attributes import COVERED
from dr.sources.driver import MANIFEST, RestoredSource

log = logging.getLogger("dr.recover")
#: So many files are asked of restic by name.
_FEW = 200
#: What stands beside a stream for us alone.
_OURS = frozenset({MANIFEST, LAID, facts.FILENAME})


def bring(recovery: Recovery) -> None:
    """Restore every source of the copy in hand, also those the plan no longer names; or samples, for a partial drill.

    Samples are some files of each tree; of streams only when the point holds nothing else.
    """
    names = recovery.sources
    act: Callable[[Recovery, str], Restored | None] = _bring_all_of
    if recovery.request.partial:
        manifests, act = recovery.chosen.copy.manifests, _bring_sample_of
        names = [name for name in names if name not in manifests or not _is_stream(recovery, name)] or names
    recovery.restored = of_each(recovery, names, lambda name: act(recovery, name))
    if recovery.request.paths and not recovery.restored:
        raise DrError(
            f"the point {recovery.chosen.point.run_id} holds nothing at the paths that were named",
            recovery.toolbox.plan.system,
            hint=f"see what it holds with `dr ls {recovery.toolbox.plan.system}`",
        )
    _say_restored(recovery)


def _say_restored(recovery: Recovery) -> None:
    """Say what was restored, and what restic could not; the manifest, not restic, then decides what that means."""
    journal, items = recovery.journal, recovery.restored
    files, size = sum(item.files for item in items.values()), format_bytes(sum(item.bytes for item in items.values()))
    journal.note(f"restored {', '.join(items)}: {files:,} file{'' if files == 1 else 's'}, {size}", timed=True)
    for name, complaints in ((name, item.complaints) for name, item in items.items() if item.complaints):
        if any("no space left" in text.lower() for text in complaints):
            raise DrError("the restore failed: the disk is full", str(recovery.root), hint="free some space there")
        count = "1 item" if len(complaints) == 1 else f"{len(complaints):,} items"
        journal.note(f"{count} of {name} could not be restored whole", outcome="degraded")
        recovery.names += [(name, "restic", os.fsencode(text)) for text in complaints]


def _is_stream(recovery: Recovery, name: str) -> bool:
    """Whether a source was captured as one stream: its manifest says so."""
    listed = recovery.apart(name) / MANIFEST
    return listed.is_file() and manifest.is_stream(listed)


def _bring_all_of(recovery: Recovery, name: str) -> Restored:
    instance = recovery.instances[name]
    if instance.takes_stream:
        return _pour(recovery, name, instance)
    repository, snapshot = recovery.chosen.place.repository, recovery.chosen.copy.snapshots[name]
    if recovery.request.real and recovery.request.force:
        listed = recovery.apart(name) / MANIFEST
        listed = listed if listed.is_file() else recovery.site.land.manifest(repository, snapshot, instance.room)
        if listed.is_file():
            _refuse_links(recovery, name, listed, None)
    complaints = recovery.site.land.lay(repository, snapshot, instance.room)
    restored = _settle(recovery, name, complaints=complaints)
    if recovery.request.as_files and _is_stream(recovery, name):
        return replace(restored, beside=_lay_beside(recovery, name))
    return restored


def _lay_beside(recovery: Recovery, name: str) -> frozenset[str]:
    """Lay down beside a dump what was stored with it, such as accounts: who loads it by hand needs that too.

    Returns the names of what was laid down.
    """
    apart, root, laid = recovery.apart(name), recovery.root / name, set[str]()
    if not root.is_dir():  # on another host
        return frozenset()
    for path in sorted(apart.iterdir()):
        if path.is_file() and path.name not in _OURS and not (root / path.name).exists():
            shutil.copyfile(path, root / path.name)
            (root / path.name).chmod(0o600)
            laid.add(path.name)
            log.warning("%s: stored with the dumps, and needed with them: %s", name, root / path.name)
    return frozenset(laid)


def _pour(recovery: Recovery, name: str, instance: RestoredSource) -> Restored:
    """Send a stored stream into its service, hashed by us on its way."""
    listed = recovery.apart(name) / MANIFEST
    entry = next(manifest.read(listed), None) if listed.is_file() else None
    if entry is None:
        raise DamageError("the point holds no manifest of this stream", name, hint="use another target or older point")
    filename, digest, size = os.fsdecode(entry.path).lstrip("/"), hashlib.sha256(), 0

    def hashed(chunks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    with recovery.chosen.place.repository.reading(recovery.chosen.copy.snapshots[name], f"/{filename}") as chunks:
        stream = hashed(chunks)
        instance.pour(filename, stream)
        for _ in stream:  # what the service did not read, such as a tar's last blocks, is hashed all the same
            pass
    return Restored(
        name=name,
        kind=instance.kind,
        root=recovery.root / name,
        instance=instance,
        declared=recovery.toolbox.plan.sources[name],
        manifest=listed,
        poured=Poured(filename, size, digest.hexdigest()),
        files=1,
        listed=1,
        bytes=size,
    )


def _bring_sample_of(recovery: Recovery, name: str) -> Restored | None:
    land, repository, room = recovery.site.land, recovery.chosen.place.repository, recovery.instances[name].room
    snapshot, listed = recovery.chosen.copy.snapshots[name], recovery.apart(name) / MANIFEST
    at_once = recovery.request.to is not None and recovery.request.size is not None and not recovery.request.force
    complaints: tuple[str, ...] = ()
    if at_once:  # one restic for the manifest and the files: who waits for one file is in a hurry
        land.require_space(room.root, recovery.request.size or 0)
        manifests = [] if listed.is_file() else [f"/{MANIFEST}"]
        complaints = land.lay(repository, snapshot, room, [*manifests, *_include_any(recovery, name)])
        if manifests:
            listed = room.root / MANIFEST
            assemble(listed)
    elif not listed.is_file():
        listed = land.manifest(repository, snapshot, room)
    if not listed.is_file():
        raise DamageError(
            "the point holds no manifest that could be read, so nothing of it can be picked",
            name,
            hint="recover or drill the whole system, or use another target or point",
        )
    sample = _named(recovery, name, listed) if recovery.request.paths else _sample(recovery, name, listed)
    if sample is None:
        for left in (listed, _named_of(recovery, name), room.root):  # nothing of it was asked for
            with suppress(OSError):
                left.unlink() if left.is_file() else left.rmdir()
        return None
    if not at_once:
        _refuse_links(recovery, name, listed, sample.only)
        land.require_space(room.root, sum(entry.size for entry in chosen(listed, sample.only)))
        complaints = land.lay(repository, snapshot, room, sample.include) if sample.include else ()
    restored = _settle(recovery, name, complaints=complaints)
    if recovery.request.paths and not recovery.request.in_place:  # there the folders above count, too
        restored = replace(restored, manifest=_named_of(recovery, name))
    return replace(restored, only=sample.only, listed=sample.listed)


def _refuse_links(recovery: Recovery, name: str, listed: Path, only: re.Pattern[bytes] | None) -> None:
    """Raise `DrError` where a folder that is written over is a link there: restic would follow it out of the place."""
    if not (recovery.request.real and recovery.request.force):
        return  # the place was new or empty
    top, seen = os.fsencode(recovery.root / name), {b"", b"/"}
    for entry in chosen(listed, only):
        folder = entry.path if entry.kind == "dir" else os.path.dirname(entry.path)
        while folder not in seen:
            seen.add(folder)
            if os.path.islink(top + folder):
                recovery.names.append((name, "a link, and was a folder", folder))
                raise DrError(
                    "a folder that would be written over is a link there, and is not followed",
                    str(recovery.root / name),
                    hint="recover into a new or empty directory",
                )
            folder = os.path.dirname(folder)


def _settle(recovery: Recovery, name: str, *, complaints: tuple[str, ...]) -> Restored:
    """Put in order what was laid down, and count it."""
    instance, amended = recovery.instances[name], recovery.apart(name) / MANIFEST
    laid = recovery.site.land.settle(instance)
    survey = recovery.site.land.survey(recovery.root / name)
    with survey.reachable():
        sizes = [_content(status) for _, status in survey.files()]
    return Restored(
        name=name,
        kind=recovery.chosen.point.kinds.get(name, "files"),
        root=recovery.root / name,
        instance=instance,
        declared=recovery.toolbox.plan.sources[name] if recovery.as_declared(name) else None,
        manifest=amended if amended.is_file() else laid,
        files=len(sizes),
        listed=len(sizes),
        bytes=sum(sizes),
        complaints=complaints,
    )


def _content(found: os.stat_result) -> int:
    """The bytes of a file; links and the like have none."""
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


# -- samples -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sample:
    """Which paths of a source to restore: for us, and for restic. `listed` is how many files there are."""

    only: re.Pattern[bytes]
    include: list[str]
    listed: int


def _named(recovery: Recovery, name: str, listed: Path) -> _Sample | None:
    """Return what a person named of this source; None where it holds nothing of that.

    Of files that go back where they were, those that are the same there are not brought, unless there are many others.
    """
    declared = recovery.toolbox.plan.sources.get(name) if recovery.as_declared(name) else None
    bases, paths = bases_of(declared), recovery.request.paths
    only = pattern_of(bases, paths)
    count, alone = _write_named(bases, listed, only, _named_of(recovery, name))
    if not count:
        return None
    if recovery.request.in_place and (few := _few_others(bases, listed, only)) is not None:
        forms = [re.escape(path.lstrip(b"/")) for path in few]
        return _Sample(
            re.compile(b"|".join(forms) or b"(?!)", re.DOTALL), [literal(os.fsdecode(path)) for path in few], count
        )
    return _Sample(only, include_of(bases, paths, alone=alone), count)


def _named_of(recovery: Recovery, name: str) -> Path:
    """Return where the part of a manifest lies that a person named: who works with that need not read the whole."""
    return recovery.apart(name) / f"{MANIFEST}.named"


def _write_named(bases: Sequence[str], listed: Path, only: re.Pattern[bytes], to: Path) -> tuple[int, set[bytes]]:
    """Write the part of a manifest that was named, having read it whole.

    Return how many entries that are, and which declared paths are files by themselves.
    """
    own, alone, count = {path.strip("/").encode("utf-8", "surrogateescape") for path in bases}, set[bytes](), 0

    def counted() -> Iterator[Entry]:
        nonlocal count
        for entry in chosen(listed, only):
            count += 1
            if entry.kind == "file" and (bare := entry.path.lstrip(b"/")) in own:
                alone.add(bare)
            yield entry

    manifest.write(to, manifest.header(listed), counted())
    return count, alone


def _include_any(recovery: Recovery, name: str) -> list[str]:
    """Return restic's patterns for what a person named, whether the declared paths are folders or files."""
    declared = recovery.toolbox.plan.sources.get(name) if recovery.as_declared(name) else None
    bases, paths = bases_of(declared), recovery.request.paths
    own = {path.strip("/").encode("utf-8", "surrogateescape") for path in bases}
    return list(dict.fromkeys(include_of(bases, paths, alone=set()) + include_of(bases, paths, alone=own)))


def _few_others(bases: Sequence[str], listed: Path, only: re.Pattern[bytes]) -> list[bytes] | None:
    """Return the files that are not the same where they were; None where there are many, or folders among them."""
    few: list[bytes] = []
    with LivePlace(bases, attributes=bool(manifest.header(listed).get(COVERED))) as place:
        for entry in chosen(listed, only):
            if entry.state == "unreadable" or entry.kind == "other":
                continue
            if place.judge(entry).standing == "same":
                continue
            few.append(entry.path)
            if len(few) > _FEW or entry.kind == "dir":
                return None
    return few


def _sample(recovery: Recovery, name: str, listed: Path) -> _Sample:
    """Return what the plan's file checks name; when that is nothing, one file picked by the seed."""
    declared = recovery.toolbox.plan.sources.get(name) if recovery.as_declared(name) else None
    bases = bases_of(declared)
    checks = [check.body for check in recovery.toolbox.plan.drill.checks if check.source == name]
    named = [wanted for body in checks if (wanted := body.sampled_path) is not None]
    only = re.compile(b"|".join(below(bases, each).pattern for each in named) or b"(?!)", re.DOTALL)
    there = [entry for entry in chosen(listed, None) if entry.kind != "dir"]
    files = [entry for entry in there if entry.kind == "file"]
    paths = {entry.path.lstrip(b"/") for entry in files}
    include = [form for each in named for form in for_restic(bases, each, alone=paths)]
    if not any(only.fullmatch(path) for path in paths):
        path = _picked(files, f"{recovery.request.drill_id}/{name}")
        only, include = re.compile(re.escape(path), re.DOTALL), [literal(os.fsdecode(b"/" + path))]
    return _Sample(only, include, len(there))


def _picked(files: Sequence[Entry], seed: str) -> bytes:
    """Pick one file; the same seed picks the same file. Files with content come first."""
    whole = [entry for entry in files if entry.state == "ok"]
    pool = [entry for entry in whole if entry.size] or whole
    if not pool:
        raise DrError(
            "the point holds no file to restore from this source",
            hint="drill the whole system: --scenario system-loss",
        )
    return random.Random(seed).choice(pool).path.lstrip(b"/")  # noqa: S311 - picks, hides nothing
