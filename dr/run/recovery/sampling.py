"""A drill of a sample: what is to be restored is chosen by its manifests, before anything of it is brought.

The evidence says what was chosen, by which rule, and of how much; nothing such a drill shows holds for the whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from dr.errors import DamageError, DrError
from dr.evidence import manifest
from dr.evidence.coverage import Sampled
from dr.evidence.manifest import Entry
from dr.plan.units import format_bytes
from dr.run.recovery.checks.pattern import literal
from dr.run.recovery.place.space import LARGER, Need, for_databases, require_all
from dr.run.recovery.sample import Choice, choose, counts, summed_up
from dr.run.recovery.state import Recovery
from dr.sources.driver import MANIFEST

#: restic trims the lines of a list of names, and ends one at a line's end.
_AT_THE_END, _LINE_ENDS = re.compile(r"\s$"), re.compile(r"[\r\n]")


def choose_sample(
    recovery: Recovery,
    *,
    stream_size: Callable[[Recovery, str], int | None],
    loaded_size: Callable[[Recovery, str, int], int],
) -> None:
    """Choose what of the point is restored; nothing is left to choose where all of it is small enough.

    Leaves for each tree the part of its manifest that was chosen, and restic's names for that. Raises `DrError` where
    it does not fit, or nothing can be chosen.
    """
    limit = recovery.request.sample or 0
    sizes = {name: stream_size(recovery, name) for name in recovery.sources}
    streams = {name: size for name, size in sizes.items() if size is not None}
    trees = {name: _manifest_of(recovery, name) for name, size in sizes.items() if size is None}
    files = {name: partial(manifest.read, listed) for name, listed in trees.items()}
    found = choose(files, streams, limit=limit, begin=recovery.request.sample_from)
    if found is None:
        return
    sampled = summed_up(found, files, streams)
    if not sampled.files:
        raise DrError(
            f"each file of the point is larger than the sample of {format_bytes(limit)}", recovery.toolbox.plan.system,
            hint="write a larger `drill: {sample: …}`, or none, to restore the whole",
        )  # fmt: skip
    recovery.sampled = sampled
    for name in sampled.left_out:
        recovery.instances.pop(name, None)
    loaded = {name: loaded_size(recovery, name, streams[name]) for name in _poured(recovery, found)}
    _require_room(recovery, sampled, loaded, streams)
    for name in trees.keys() & recovery.instances.keys():
        _write_chosen(name, trees[name], recovery.part_of(name), recovery.names_of(name), found)
        recovery.trees_sampled[name] = sum(map(counts, files[name]()))
    recovery.journal.note(f"sampled: {sampled.in_words(format_bytes)}")


def _manifest_of(recovery: Recovery, name: str) -> Path:
    """Bring a tree's manifest alone."""
    listed, room = recovery.apart(name) / MANIFEST, recovery.instances[name].room
    if not listed.is_file():
        snapshot = recovery.chosen.copy.snapshots[name]
        listed = recovery.site.land.manifest(recovery.chosen.place.repository, snapshot, room)
    if not listed.is_file():
        raise DamageError(
            "the point holds no manifest that could be read, so no sample of it can be chosen", name,
            hint="drill the whole system, or use another target or point",
        )  # fmt: skip
    return listed


def _poured(recovery: Recovery, found: Choice) -> list[str]:
    """Return the chosen sources that go into a server."""
    return sorted(name for name in found.streams if recovery.instances[name].takes_stream)


def _require_room(recovery: Recovery, sampled: Sampled, loaded: Mapping[str, int], streams: Mapping[str, int]) -> None:
    """Raise `DrError` unless the sample fits; `loaded` are the bytes that databases take in a server."""
    land = recovery.site.land
    files = sampled.bytes - sum(streams[name] for name in loaded)
    needs = [Need(disk=land.disk(recovery.root), what="of files", bytes=files)]
    needs += [for_databases(name, land.disk(recovery.site.servers), size) for name, size in loaded.items()]
    require_all(needs, hint=LARGER)


def _write_chosen(name: str, listed: Path, part: Path, names: Path, found: Choice) -> None:
    """Write the chosen part of a manifest, and restic's names for it."""
    writer = _Names(names, by_folder=manifest.is_sorted(listed))
    with writer:
        manifest.write(part, manifest.header(listed), writer.passing(name, manifest.read(listed), found))


class _Names:
    """Writes restic's names for what passes: one for all of a folder that has no folders below it.

    restic holds every file that it comes by against every name, so that fewer names make it much quicker.
    """

    def __init__(self, path: Path, *, by_folder: bool) -> None:
        self._path, self._by_folder = path, by_folder
        self._folder, self._began, self._whole = b"", 0, False
        self._branching: set[bytes] = set()

    def __enter__(self) -> None:
        self._file = self._path.open("wb")
        self._path.chmod(0o600)

    def __exit__(self, *_: object) -> None:
        self._end_folder()
        self._file.close()

    def passing(self, source: str, entries: Iterator[Entry], found: Choice) -> Iterator[Entry]:
        """Let the chosen entries of a source pass."""
        for entry in entries:
            folder = os.path.dirname(entry.path)
            if folder != self._folder:
                self._end_folder()
                self._folder, self._began, self._whole = folder, self._file.tell(), True
            if entry.kind == "dir":
                self._branching.add(folder)
            elif found.takes(source, entry):
                self._file.write(_line(entry.path))
                yield entry
            elif counts(entry):
                self._whole = False

    def _end_folder(self) -> None:
        """Put one name in the place of those of a folder that was chosen whole."""
        whole = self._by_folder and self._whole and self._folder not in self._branching
        if whole and self._folder not in (b"", b"/") and self._file.tell() > self._began:
            self._file.seek(self._began)
            self._file.truncate()
            self._file.write(_line(self._folder))


def _line(path: bytes) -> bytes:
    """Return the line of a list for restic that stands for a path; it may stand for more, never for less.

    restic reads variables in such a list.
    """
    text = _LINE_ENDS.sub("?", literal(os.fsdecode(path)).replace("$", "$$"))
    return os.fsencode(_AT_THE_END.sub("?", text)) + b"\n"
