"""Files of one source going back where they were: what is the same on this host and on another.

What was restored and proven lies in the sandbox. Whoever carries it out makes each file whole beside its place, under
a name of ours, and gives it its name in one step; this says of each entry what became of it.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from dr.errors import MachineError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.plan.units import counted
from dr.run.recovery.checks.context import Restored
from dr.run.recovery.checks.pattern import bases_of
from dr.run.recovery.compare import chosen
from dr.run.recovery.place.live import Judged
from dr.run.recovery.selected import pattern_of
from dr.run.recovery.state import Recovery
from dr.tools import command

_LEFT = "special or unreadable at capture, and left"
_SAME = "the same already, and left"


class Putting(ABC):
    """One source at work; a context. `counts` says what became of how many entries.

    `only` matches what was named; `made` are folders that were made or get their rights, which they get in the end.
    """

    def __init__(self, recovery: Recovery, name: str, item: Restored, listed: Path) -> None:
        declared = recovery.toolbox.plan.sources.get(name)
        self._recovery, self._name, self._item, self._listed = recovery, name, item, listed
        self._mark = recovery.request.drill_id
        self.bases = bases_of(declared)
        self.only = pattern_of(self.bases, recovery.request.paths)
        self.made: dict[bytes, Entry] = {}
        self._folders: dict[bytes, Entry] | None = None
        self.counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Close what is open."""

    @abstractmethod
    def carry_out(self) -> None:
        """Put back all that was named and is not the same already; then the rights of the folders; and say so."""

    # -- for those who do it ----------------------------------------------------------------------------

    def wanted(self) -> Iterator[Entry]:
        """Yield what was named and can be put back."""
        for entry in chosen(self._listed, self.only):
            command.raise_if_stopping()
            if entry.state == "unreadable" or entry.kind == "other":
                self.counts[_LEFT] += 1
            else:
                yield entry

    def settle(self, entry: Entry, judged: Judged) -> None:
        """Do for one entry what its place asks for, by what lies there."""
        if judged.standing == "blocked":
            self.problem(entry, judged.why)
        elif judged.standing == "same":
            self.counts[_SAME] += 1
        elif entry.kind == "dir":
            self.put_folder(entry, there=judged.standing == "rights")
        elif not os.path.lexists(self.staged(entry)):
            self.problem(entry, "it changed while the recovery was at work")
        elif judged.standing == "rights":
            self.put_rights(entry)
        else:
            self.put(entry)

    @abstractmethod
    def put_folder(self, entry: Entry, *, there: bool) -> None:
        """Make a folder, or only note that it gets its rights in the end where it is `there`."""

    @abstractmethod
    def put_rights(self, entry: Entry) -> None:
        """Give a file or link whose content is there the rights of the capture."""

    @abstractmethod
    def put(self, entry: Entry) -> None:
        """Put back a file or link."""

    def tried(self, entry: Entry, act: Callable[[Entry], None]) -> None:
        """Do something for one entry; what the machine refuses is noted, and the others are put back all the same."""
        try:
            act(entry)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self.full() from error
            self.problem(entry, error.strerror or str(error), common=error.strerror or "")

    def full(self) -> MachineError:
        """Return the error for a full disk."""
        return MachineError(
            "the disk is full: what is there is whole, and not all was put back", self._name,
            hint="free some space, then start the command again",
        )  # fmt: skip

    def problem(self, entry: Entry, why: str, *, common: str = "") -> None:
        """Note that an entry was not put back; `common` is a reason that names no file, and goes on record."""
        self.counts["failed"] += 1
        self._reasons[common] += bool(common)
        self._recovery.names.append((self._name, f"not put back: {why}", entry.path))

    def told(self, entry: Entry, what: str, more: str = "") -> None:
        """Note what became of an entry."""
        self.counts[what] += 1
        self._recovery.names.append((self._name, what + more, entry.path))

    def overwritten(self, entry: Entry, kept: bytes | None) -> None:
        """Note that a file or link is in its place; `kept` is the name of what was there before."""
        if kept:
            self.told(entry, "overwritten", f", kept as {os.fsdecode(kept)}")
        else:
            self.told(entry, "brought back")

    def staged(self, entry: Entry) -> bytes:
        """Return where an entry lies in the sandbox."""
        return os.fsencode(self._item.root) + b"/" + entry.path.lstrip(b"/")

    def folder_of(self, path: bytes) -> Entry | None:
        """Return a folder as it was captured, also one that was not named."""
        if self._folders is None:
            self._folders = {entry.path: entry for entry in manifest.read(self._listed) if entry.kind == "dir"}
        return self._folders.get(path)

    # -- what is said -----------------------------------------------------------------------------------

    def say(self) -> None:
        """Say what became of all."""
        counts, journal = self.counts, self._recovery.journal
        parts = [f"{counts['brought back']:,} brought back"]
        if many := counts["overwritten"]:
            parts.append(f"{many:,} overwritten, each kept beside as NAME.before-{self._mark}")
        parts += [f"{counts[what]:,} {what}" for what in ("rights put back", _SAME, _LEFT) if counts[what]]
        journal.note(f"{self._name} in its place: {'; '.join(parts)}", timed=True)
        if many := counts["failed"]:
            first = next((why for why, times in self._reasons.most_common(1) if times), "")
            why = f": {first}" if first else ""
            journal.note(f"{counted(many, 'name')} of {self._name} not put back{why}", outcome="degraded")
        if many := counts["of another owner"]:
            what = f"{counted(many, 'name')} of {self._name} without the owner of the capture"
            journal.note(f"{what}: only root gives files to other users", outcome="degraded")
        if many := counts["without attributes"]:
            what = f"{counted(many, 'name')} of {self._name} without the ACLs and extended attributes of the capture"
            journal.note(what, outcome="degraded")
