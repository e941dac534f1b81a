"""Whether a source holds nothing, at capture and once it is brought back: what holds nothing proves no recovery.

At capture this is told from what was hashed and stored, in a drill from what lies restored.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from dr.errors import DrError
from dr.evidence import manifest
from dr.evidence.hollow import LARGEST, hollow
from dr.evidence.manifest import Entry
from dr.evidence.record import Omission
from dr.run.ground import Restored
from dr.run.land import Land
from dr.run.survey import Survey
from dr.sources import facts
from dr.sources.door import Tree
from dr.sources.facts import Facts
from dr.tools.digest import open_file
from dr.tools.restic import Repository

#: Objects of a database server that are there without any data.
_FRAME = frozenset({"database", "schema", "role", "account", "setting"})
_WITHOUT_TABLES = "databases without a table"


def omission_of(why: str) -> Omission:
    """Say of a source that it holds nothing, and why that is said."""
    return Omission(
        what=f"it holds nothing ({why}), so that no recovery of it proves anything",
        hint="see why its data is not there; if it is meant to be empty, take it out of the plan until it holds some",
        partial=False,
    )


def of_tree(tree: Tree) -> str:
    """Return why a captured tree holds nothing; empty when it holds something."""
    listed = tree.cwd / tree.manifest_name
    root = b"" if all(path.startswith("/") for path in tree.paths) else os.fsencode(tree.cwd)
    return _of_entries(listed, tree.files, tree.bytes, lambda entry: _head(root + entry.path))


def of_stored(repository: Repository, snapshot: str, work: Path, *, files: int, size: int) -> str:
    """Return why what another host stored holds nothing; what is small is read back from where it is stored."""
    if manifest.is_stream(work / "dr-manifest"):
        found = of_facts(facts.read(work / facts.FILENAME))
        if found:
            return found

    def stored(entry: Entry) -> bytes:
        return repository.dump(snapshot, os.fsdecode(entry.path)) if entry.size <= LARGEST else b""

    return _of_entries(work / "dr-manifest", files, size, stored)


def of_stream(begin: bytes, size: int, work: Path) -> str:
    """Return why a captured stream holds nothing, by its first bytes and by what was recorded of its databases."""
    return hollow(begin, size) or of_facts(facts.read(work / facts.FILENAME))


def of_facts(found: Facts | None) -> str:
    """Return why databases hold nothing: they have no table, nor any other object."""
    if found is None or found.rows or any(name.partition(" ")[0] not in _FRAME for name in found.objects):
        return ""
    return _WITHOUT_TABLES


def of_restored(item: Restored, land: Land) -> str:
    """Return why a source that was brought back holds nothing, as it lies there now.

    Of a sample nothing is said: what was not restored may hold something.
    """
    if item.poured:
        return hollow(b"", item.poured.size) or _of_service(item)
    if item.only is not None and item.listed > item.files:
        return ""
    if item.bytes and item.files != 1:
        return ""
    survey = land.survey(item.root)
    with survey.reachable():
        return _of_survey(survey, item.bytes, beside=item.beside)


def _of_survey(survey: Survey, size: int, *, beside: frozenset[str]) -> str:
    found = [(path, status) for path, status in survey.files() if os.fsdecode(path) not in beside]
    if any(stat.S_ISLNK(status.st_mode) for _, status in found):
        return ""
    regular = [(path, status.st_size) for path, status in found if stat.S_ISREG(status.st_mode)]
    if size == 0:
        return _counted(len(regular))
    ((path, size),) = regular
    with survey.opened(path) as descriptor:
        return hollow(os.pread(descriptor, LARGEST + 1, 0), size)


def _of_service(item: Restored) -> str:
    """Ask what was restored only where the capture found nothing: counting rows takes time."""
    if not of_facts(item.instance.captured()):
        return ""
    return of_facts(item.instance.facts()) or ""


def _of_entries(listed: Path, files: int, size: int, content: Callable[[Entry], bytes]) -> str:
    if size and files != 1:
        return ""
    entries = list(_content(manifest.read(listed)))
    if any(entry.kind == "link" for entry in entries):
        return ""
    if not size:
        return _counted(files)
    with suppress(OSError, DrError):
        (entry,) = (entry for entry in entries if entry.state != "unreadable")
        return hollow(content(entry), entry.size)
    return ""


def _content(entries: Iterable[Entry]) -> Iterable[Entry]:
    return (entry for entry in entries if entry.kind in ("file", "link"))


def _counted(files: int) -> str:
    return "no file" if not files else "1 file of 0 bytes" if files == 1 else f"{files:,} files of 0 bytes"


def _head(path: bytes) -> bytes:
    descriptor = open_file(path)
    try:
        return os.pread(descriptor, LARGEST + 1, 0)
    finally:
        os.close(descriptor)
