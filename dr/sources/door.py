"""The doors of a source, and what comes out of the first: a tree that restic walks, or a stream."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import SourceError

MANIFEST = "dr-manifest"


@dataclass(frozen=True)
class Settled:
    """How a tree stood when restic had ended: what changed meanwhile, and whether the manifest says so anew."""

    changed: tuple[bytes, ...] = ()
    vanished: int = 0
    amended: bool = False


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A capture that restic walks: `paths` absolute, or relative to `cwd`, where the manifest lies too.

    `unreadable` files are there and could not be read; `missing` are declared paths that are not there.
    """

    paths: tuple[str, ...]
    cwd: Path
    started: datetime
    files: int
    bytes: int
    excludes: tuple[str, ...] = ()
    one_filesystem: bool = False
    unreadable: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    manifest_name: str = MANIFEST
    settler: Callable[[], Settled] = field(default=Settled, repr=False)

    def settle(self) -> Settled:
        """Look again at every file after restic has ended, and amend the manifest where they differ."""
        return self.settler()


class Stream(ABC):
    """A capture that we pump: bytes stored under `filename`."""

    filename: str
    started: datetime

    @abstractmethod
    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes; raises `SourceError` when the source fails, even after its last byte."""

    @abstractmethod
    def close(self) -> None:
        """End the source. Safe at any time, and twice."""


class Doors(ABC):
    """The four doors every kind of source has."""

    kind: str

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def capture(self, work: Path, reuse: Path | None) -> Tree | Stream:
        """Begin a capture, with `work` as scratch space and the last manifest to reuse hashes from.

        Raises `SourceError` when there is nothing that could be captured.
        """

    def restore(self, root: Path) -> Path | None:
        """Put in order what restic laid down at `root`: the manifest goes aside; its new path is returned."""
        listed = root / MANIFEST
        if not listed.is_file():
            return None
        aside = root.parent / ".manifests"
        aside.mkdir(mode=0o700, exist_ok=True)
        return listed.replace(aside / self.name)

    def start(self, root: Path) -> None:  # noqa: B027 - files and dumps have nothing to start
        """Make what was restored answer; `SourceError` when it does not."""

    def probe(self, root: Path, query: str) -> object:
        """Return the one value of a query on what was restored; `SourceError` where there is none."""
        raise SourceError(f"a {self.kind} source answers no queries", self.name, hint="query a database source instead")

    def newest(self, root: Path) -> datetime | None:
        """Return the time of the newest record restored; None where the plan has no probe for it."""
        return None


def parse_timestamp(value: object) -> datetime | None:
    """Return a moment from what databases give: ISO text (UTC when it has no zone) or epoch s, ms, µs, ns.

    None for anything else. A number too small to be a time after 1973 is a count or a Julian day, not a time.
    """
    text = str(value).strip()
    try:
        if isinstance(value, int | float) or re.fullmatch(r"\d{9,19}(\.\d+)?", text):
            return _from_epoch(float(text))
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _from_epoch(number: float) -> datetime | None:
    if not 1e8 <= number < 1e20:
        return None
    while number > 1e11:
        number /= 1000
    return datetime.fromtimestamp(number, UTC)


def shown(path: bytes | str) -> str:
    """Return a path that may be printed."""
    return "".join(c if c.isprintable() else "?" for c in os.fsdecode(path).encode("utf-8", "replace").decode())
