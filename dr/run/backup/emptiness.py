"""Whether a source holds nothing, at capture and once it is brought back: what holds nothing proves no recovery.

At capture this is told from what was hashed and stored, in a drill from what lies restored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from dr.errors import DrError
from dr.evidence import manifest
from dr.evidence.hollow import LARGEST, hollow
from dr.evidence.manifest import Entry
from dr.evidence.record import Omission
from dr.sources import database_inventory as facts
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.driver import Tree
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


def of_facts(found: DatabaseInventory | None) -> str:
    """Return why databases hold nothing: they have no table, nor any other object."""
    if found is None or found.rows or any(name.partition(" ")[0] not in _FRAME for name in found.objects):
        return ""
    return _WITHOUT_TABLES


def _of_entries(listed: Path, files: int, size: int, content: Callable[[Entry], bytes]) -> str:
    if size and files != 1:
        return ""
    entries = list(_content(manifest.read(listed)))
    if any(entry.kind == "link" for entry in entries):
        return ""
    if not size:
        return described(files)
    with suppress(OSError, DrError):
        (entry,) = (entry for entry in entries if entry.state != "unreadable")
        return hollow(content(entry), entry.size)
    return ""


def _content(entries: Iterable[Entry]) -> Iterable[Entry]:
    return (entry for entry in entries if entry.kind in ("file", "link"))


def described(files: int) -> str:
    """Say of a source without a byte how many files it has."""
    return "no file" if not files else "1 file of 0 bytes" if files == 1 else f"{files:,} files of 0 bytes"


def _head(path: bytes) -> bytes:
    descriptor = open_file(path)
    try:
        return os.pread(descriptor, LARGEST + 1, 0)
    finally:
        os.close(descriptor)
