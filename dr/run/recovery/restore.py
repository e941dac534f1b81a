"""The phase restore: a point's sources are brought back, each into its room; for drills and recoveries.

Everything: trees as files, streams into their services. Or samples, where files alone were lost: the files that the
plan's file checks name, else one picked by the drill's id. May be called again over what an interrupted call left:
restic completes it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dr.errors import DamageError, DrError
from dr.evidence import manifest
from dr.evidence.manifest_parts import assemble
from dr.plan.units import format_bytes
from dr.run.recovery.checks.context import Poured, Restored
from dr.run.recovery.compare import chosen
from dr.run.recovery.place.restore_host import LAID
from dr.run.recovery.provision import of_each
from dr.run.recovery.state import Recovery
from dr.sources import database_inventory as facts
from dr.sources.driver import MANIFEST, RestoredSource

log = logging.getLogger("dr.recover")
#: What a part of a manifest has of that part.
_ALL = re.compile(b".*", re.DOTALL)
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
    if name in recovery.trees_sampled:
        return _bring_chosen_of(recovery, name, recovery.trees_sampled[name])
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


def _bring_chosen_of(recovery: Recovery, name: str, listed: int) -> Restored:
    """Restore what was chosen of a tree; what it is held against is that part of the manifest."""
    repository, snapshot = recovery.chosen.place.repository, recovery.chosen.copy.snapshots[name]
    complaints = recovery.site.land.lay(repository, snapshot, recovery.instances[name].room, recovery.names_of(name))
    restored = _settle(recovery, name, complaints=complaints)
    return replace(restored, manifest=recovery.part_of(name), only=_ALL, listed=listed)


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
    from dr.run.recovery.part import include_any, named, named_of, picked_by_checks

    land, repository, room = recovery.site.land, recovery.chosen.place.repository, recovery.instances[name].room
    snapshot, listed = recovery.chosen.copy.snapshots[name], recovery.apart(name) / MANIFEST
    at_once = recovery.request.to is not None and recovery.request.size is not None and not recovery.request.force
    complaints: tuple[str, ...] = ()
    if at_once:  # one restic for the manifest and the files: who waits for one file is in a hurry
        land.require_space(room.root, recovery.request.size or 0)
        manifests = [] if listed.is_file() else [f"/{MANIFEST}"]
        complaints = land.lay(repository, snapshot, room, [*manifests, *include_any(recovery, name)])
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
    sample = named(recovery, name, listed) if recovery.request.paths else picked_by_checks(recovery, name, listed)
    if sample is None:
        for left in (listed, named_of(recovery, name), room.root):  # nothing of it was asked for
            with suppress(OSError):
                left.unlink() if left.is_file() else left.rmdir()
        return None
    if not at_once:
        _refuse_links(recovery, name, listed, sample.only)
        land.require_space(room.root, sum(entry.size for entry in chosen(listed, sample.only)))
        complaints = land.lay(repository, snapshot, room, sample.include) if sample.include else ()
    restored = _settle(recovery, name, complaints=complaints)
    if recovery.request.paths and not recovery.request.in_place:  # there the folders above count, too
        restored = replace(restored, manifest=named_of(recovery, name))
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
    whole = recovery.as_declared(name) and not recovery.request.paths  # single files answer no questions of the plan
    laid = recovery.site.land.settle(instance)
    survey = recovery.site.land.survey(recovery.root / name)
    with survey.reachable():
        sizes = [_content(status) for _, status in survey.files()]
    return Restored(
        name=name,
        kind=recovery.chosen.point.kinds.get(name, "files"),
        root=recovery.root / name,
        instance=instance,
        declared=recovery.toolbox.plan.sources[name] if whole else None,
        manifest=amended if amended.is_file() else laid,
        files=len(sizes),
        listed=len(sizes),
        bytes=sum(sizes),
        complaints=complaints,
    )


def _content(found: os.stat_result) -> int:
    """The bytes of a file; links and the like have none."""
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
