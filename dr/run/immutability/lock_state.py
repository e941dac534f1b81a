"""What is known of the locks on a repository's objects, kept in a file between runs.

It can be lost: new objects are then inferred from a sample again, and at worst locked once more.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.tools.store import Version


@dataclass(frozen=True)
class ObjectLockState:
    """One object's original version, when it was written, and until when it is locked; None for not, or not known.

    `asked`: that None is no guess. `gone`: the version was not there when it was to be locked.
    """

    version: str
    modified: datetime
    until: datetime | None = None
    asked: bool = False
    gone: bool = False


@dataclass
class LockMemory:
    """The objects of one repository by name, and those of them that nothing needed when it was last looked at.

    `frozen`: until then all that is stored is needed, whatever the head of the repository says.
    """

    path: Path
    place: tuple[str, ...]
    objects: dict[str, ObjectLockState] = field(default_factory=dict)
    spare: frozenset[str] = frozenset()
    frozen: datetime | None = None

    @classmethod
    def load(cls, path: Path, *, place: Sequence[str]) -> Self:
        """Return what is kept of this place; nothing, when nothing usable is."""
        memory = cls(path, tuple(place))
        try:
            kept = json.loads(path.read_text("utf-8"))
            if kept["place"] == list(place):
                memory.objects = {name: _held(item) for name, item in kept["objects"].items()}
                memory.spare = frozenset(kept["spare"])
                memory.frozen = None if kept["frozen"] is None else _moment(kept["frozen"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            memory.objects, memory.spare, memory.frozen = {}, frozenset(), None
        return memory

    def take(self, there: Mapping[str, Version]) -> None:
        """Hold exactly what is there; what is known of the same versions stays."""
        before, self.objects = self.objects, {}
        for name, version in there.items():
            held = before.get(name)
            same = held is not None and held.version == version.id
            self.objects[name] = held if same and held else ObjectLockState(version.id, version.modified)
        self.spare &= self.objects.keys()

    def update(self, items: Mapping[str, ObjectLockState]) -> None:
        """Take what is now known of some."""
        self.objects.update(items)

    def save(self) -> None:
        """Write it, whole or not at all, for its owner alone."""
        kept = {
            "place": list(self.place),
            "objects": {name: _item(held) for name, held in self.objects.items()},
            "spare": sorted(self.spare),
            "frozen": self.frozen.timestamp() if self.frozen else None,
        }
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(kept, file, separators=(",", ":"))
            beside.replace(self.path)
        except OSError as error:
            raise DrError(
                "what is known of the locks cannot be kept",
                str(self.path),
                error.strerror or "",
                hint="free some space in the state directory",
            ) from error
        finally:
            beside.unlink(missing_ok=True)


def _held(item: Sequence[Any]) -> ObjectLockState:
    version, modified, until, asked = item
    return ObjectLockState(str(version), _moment(modified), None if until is None else _moment(until), bool(asked))


def _item(held: ObjectLockState) -> list[Any]:
    until = None if held.until is None else held.until.timestamp()
    return [held.version, held.modified.timestamp(), until, int(held.asked)]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
