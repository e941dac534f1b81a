"""A toy kind of target, whole: what docs/extending.md walks through.

A cupboard is a directory of this host, and its objects are plain files there: enough for restic, and for all that is
proven without it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, cast

from pydantic import Field

from dr.errors import DamageError, TargetDownError
from dr.evidence.posture import Finding
from dr.plan.base import ConfigPath
from dr.plan.target_kind import TargetKind
from dr.targets.driver import ByHand, Opened, TargetDriver
from dr.targets.kinds import register
from dr.tools.store import ObjectStore, Posture, Stored

# -- what people write: `cupboard: {shelf: /srv/cupboard}` ---------------------------------------------


class Cupboard(TargetKind):
    """A cupboard in this house. It does not count as an offsite copy."""

    key: ClassVar = "cupboard"
    noun: ClassVar = "cupboard"
    about: ClassVar = "A cupboard in this house."
    example: ClassVar = {"shelf": "/srv/cupboard"}
    medium: ClassVar = "other"
    is_offsite: ClassVar = False
    is_reached_from_elsewhere: ClassVar = False

    shelf: Annotated[ConfigPath, Field(description="The directory in it.", examples=["/srv/cupboard"])]

    @property
    def place(self) -> tuple[str, ...]:
        """Where it is: two targets with the same place are one copy."""
        return (self.key, str(self.shelf.resolve()))


# -- its objects ---------------------------------------------------------------------------------------


class Shelf:
    """An object store: see `dr.tools.store.ObjectStore` for what each method promises."""

    def __init__(self, top: Path, inner: str = "") -> None:
        self._top, self._root = top, top / inner

    @property
    def where(self) -> str:
        return str(self._root)

    def child(self, prefix: str) -> Shelf:
        return Shelf(self._top, str((self._root / prefix).relative_to(self._top)))

    def reachable(self) -> None:
        if not self._top.parent.is_dir():
            raise TargetDownError("the cupboard is not there", str(self._top), hint="put it back")

    def preflight(self) -> Posture:
        self.reachable()
        return Posture(None, None, "unknown")

    def list(self, prefix: str = "") -> Iterator[Stored]:
        for path in sorted(self._root.rglob("*")):
            name = path.relative_to(self._root).as_posix()
            if path.is_file() and name.startswith(prefix) and not path.name.startswith("."):
                yield Stored(name, path.stat().st_size, datetime.fromtimestamp(path.stat().st_mtime, UTC))

    def exists(self, name: str) -> bool:
        return (self._root / name).is_file()

    def get(self, name: str) -> bytes:
        with self._reading(name):
            return (self._root / name).read_bytes()

    def blocks(self, name: str) -> Iterator[bytes]:
        yield self.get(name)

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        yield self.get(name)[start:end]

    def sha256(self, name: str) -> tuple[str, int]:
        data = self.get(name)
        return hashlib.sha256(data).hexdigest(), len(data)

    def put(self, name: str, data: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        beside.write_bytes(data)
        beside.replace(path)

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        data = source.get(name)
        if hashlib.sha256(data).hexdigest() != sha256:
            return False
        self.put(name, data)
        return True

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise DamageError(f"{name} is not there", self.where, hint="run `dr verify` to see all") from None


# -- how it is used ------------------------------------------------------------------------------------


class CupboardDriver(TargetDriver):
    """A cupboard: opened, looked at, and reached by restic alone."""

    declares = Cupboard

    @property
    def _shelf(self) -> Path:
        return cast("Cupboard", self.target.declared).shelf

    def open(self, *, seen: bool = False) -> Opened:
        """See `TargetDriver`."""
        return Opened(store=Shelf(self._shelf), location=str(self._shelf))

    def look(self, now: datetime, below: str) -> Iterator[Finding]:
        """See `TargetDriver`."""
        Shelf(self._shelf).preflight()
        yield Finding(what="locks", severity="low", observed="none: who opens the cupboard can empty it")

    def by_hand(self) -> ByHand:
        """See `TargetDriver`."""
        return ByHand(location=str(self._shelf))


def make_known() -> None:
    """Add the kind to those of this process."""
    register(CupboardDriver)
