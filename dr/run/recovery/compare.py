"""Restored against captured: what restic gave back, held against what we hashed ourselves at capture.

Every entry of the manifest is looked at: is it there, of its kind and size, and (as root) with its owner
and mode. The contents of a share of the files, by default all, are hashed again in threads. Entries that
changed while they were captured, or could not be read then, are counted, never wrong.
"""

from __future__ import annotations

import os
import random
import re
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field, fields
from pathlib import Path

from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.late_dataclass import dataclass
from dr.run.recovery.place.tree import RestoredTree, TreeHere
from dr.sources.attributes import COVERED
from dr.tools import command

THREADS = min(16, 2 * (os.cpu_count() or 1))
_NAMES_KEPT = 10_000
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


@dataclass(kw_only=True)
class Comparison:
    """What a comparison found. `names` says which entry has which problem: never part of evidence."""

    equal: int = 0  # files and links whose content is what it was
    present: int = 0  # files outside the sample: there, with their size
    differ: int = 0
    missing: int = 0
    rights: int = 0  # entries with another owner or mode
    marked: int = 0  # entries that had ACLs or extended attributes
    unmarked: int = 0  # those of them that nobody compared: only root gets all of them back
    attributes: int = 0  # entries with other ACLs or extended attributes
    folders: int = 0  # directories that are as they were
    unsettled: int = 0  # changed or unreadable at capture: not judged
    known: int = 0  # restored files that the manifest knows, whatever their state
    extra: int = 0  # restored although not in the manifest
    names: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing differs and nothing is missing."""
        return not (self.differ or self.missing or self.rights or self.attributes)

    def note(self, problem: str, path: bytes) -> None:
        """Remember which entry has a problem."""
        if len(self.names) < _NAMES_KEPT:
            self.names.append((problem, path))

    def add(self, other: Comparison) -> None:
        """Add another part's counts and names."""
        for part in fields(self):
            if part.name != "names":
                setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))
        self.names += other.names[: _NAMES_KEPT - len(self.names)]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How to compare: the share of files to hash, the seed that picks them, whether rights count.

    `only` limits it to the entries whose path (without a leading slash) matches.
    """

    sample: float = 1.0
    seed: str = ""
    rights: bool = False
    only: re.Pattern[bytes] | None = None


def compare(tree: RestoredTree | Path, listed: Path, terms: Terms) -> Comparison:
    """Compare a tree (a path: one on this machine) with the manifest at `listed`.

    Raises `InterruptedRunError` when the program is asked to stop, and what a survey of another host raises; every
    other finding is in the result.
    """
    survey = TreeHere(tree) if isinstance(tree, Path) else tree
    with survey.reachable():
        return _compared(survey, listed, terms)


def _compared(survey: RestoredTree, listed: Path, terms: Terms) -> Comparison:
    total = Comparison()
    known = bool(manifest.header(listed).get(COVERED))
    judge = _Rights(terms.rights, attributes=terms.rights and known and survey.tells_attributes)
    with ThreadPoolExecutor(THREADS) as pool:
        running: deque[Future[Comparison]] = deque()
        for batch in _batches(listed, terms, survey.batch):
            command.raise_if_stopping()
            running.append(pool.submit(_judge_all, survey, batch, judge))
            if len(running) > 4 * THREADS:
                total.add(running.popleft().result())
        for future in running:
            total.add(future.result())
    if terms.only is None:
        total.extra = max(0, sum(1 for _ in survey.files()) - total.known)
    return total


def chosen(listed: Path, only: re.Pattern[bytes] | None) -> Iterator[Entry]:
    """Yield the entries of a manifest, or those whose path matches `only` whole."""
    for entry in manifest.read(listed):
        if only is None or only.fullmatch(entry.path.lstrip(b"/")):
            yield entry


def _batches(listed: Path, terms: Terms, most: tuple[int, int]) -> Iterator[list[tuple[Entry, bool]]]:
    """Yield entries in batches of so many files and bytes at `most`, each with whether its content is to be hashed."""
    picked = _picked(listed, terms)
    batch: list[tuple[Entry, bool]] = []
    size, number = 0, -1
    for entry in chosen(listed, terms.only):
        hashed = True
        if _sampled(entry):
            number += 1
            hashed = picked is None or number in picked
        batch.append((entry, hashed))
        size += entry.size if hashed else 0
        if len(batch) >= most[0] or size >= most[1]:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _picked(listed: Path, terms: Terms) -> frozenset[int] | None:
    """Return the numbers of the files to hash; None for all. The same seed picks the same files."""
    if terms.sample >= 1:
        return None
    total = sum(1 for entry in chosen(listed, terms.only) if _sampled(entry))
    wanted = min(total, max(1, round(total * terms.sample)))
    return frozenset(random.Random(terms.seed).sample(range(total), wanted))  # noqa: S311 - picks, hides nothing


def _sampled(entry: Entry) -> bool:
    return entry.kind == "file" and entry.state == "ok"


@dataclass(frozen=True)
class _Rights:
    """Whether owners and modes count, and whether ACLs and extended attributes do."""

    modes: bool
    attributes: bool


def _judge_all(survey: RestoredTree, batch: list[tuple[Entry, bool]], rights: _Rights) -> Comparison:
    part = Comparison()
    found = [(entry, survey.status(_place(entry)), hashed) for entry, hashed in batch]
    digests = survey.digests([_place(entry) for entry, status, hashed in found if hashed and _worth(entry, status)])
    for entry, status, hashed in found:
        if status is not None and not stat.S_ISDIR(status.st_mode):
            part.known += 1
        if entry.state != "ok":
            part.unsettled += 1
        elif status is None:
            if not _never_there(entry, survey):
                part.missing += 1
                part.note("missing", entry.path)
        elif not _same(survey, entry, status, part, digests=digests if hashed else None):
            part.differ += 1
            part.note("differs", entry.path)
        else:
            _judge_rights(survey, entry, status, part, rights)
    return part


def _judge_rights(
    survey: RestoredTree, entry: Entry, status: os.stat_result, part: Comparison, rights: _Rights
) -> None:
    """Judge who may do what with an entry that is there and the same."""
    if rights.modes and entry.mode and _rights(entry, status):
        part.rights += 1
        part.note("other owner or mode", entry.path)
    part.marked += entry.attributes is not None
    if not rights.attributes:
        part.unmarked += entry.attributes is not None
    elif survey.attributes(_place(entry)) != entry.attributes:
        part.attributes += 1
        part.note("other ACL or extended attributes", entry.path)


def _place(entry: Entry) -> bytes:
    return entry.path.lstrip(b"/")


def _worth(entry: Entry, found: os.stat_result | None) -> bool:
    """Whether a file has to be hashed to tell whether it is the captured one."""
    if entry.kind != "file" or entry.state != "ok" or found is None:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == entry.size


def _never_there(entry: Entry, survey: RestoredTree) -> bool:
    """Whether nothing is lost where an entry is not: restic stores no sockets, and its tar holds no special file."""
    return stat.S_ISSOCK(entry.mode) or (entry.kind == "other" and not survey.specials)


def _same(
    survey: RestoredTree, entry: Entry, found: os.stat_result, part: Comparison, *, digests: Mapping[bytes, str] | None
) -> bool:
    """Whether the restored entry is the captured one; counts it when it is. Without `digests` its size is enough."""
    if _KINDS.get(stat.S_IFMT(found.st_mode), "other") != entry.kind:
        return False
    if entry.kind == "dir":
        part.folders += 1
        return True
    if entry.kind == "link" and survey.target(_place(entry)) != entry.link_target:
        return False
    if entry.kind == "file":
        if found.st_size != entry.size:
            return False
        if digests is None:
            part.present += 1
            return True
        if entry.sha256 is None or digests.get(_place(entry)) != entry.sha256:
            return False
    part.equal += 1
    return True


def _rights(entry: Entry, found: os.stat_result) -> bool:
    """Whether owner or mode is another one. A link's mode means nothing."""
    if (found.st_uid, found.st_gid) != (entry.uid, entry.gid):
        return True
    return entry.kind != "link" and stat.S_IMODE(found.st_mode) != stat.S_IMODE(entry.mode)
