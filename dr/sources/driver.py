"""What a kind of source is: what comes out of a capture (a tree that restic walks, a stream, or what its own host
stores), and what a restore makes of it again (a `RestoredSource`, which starts and answers)."""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dr.errors import DamageError, DrError, SourceError
from dr.evidence.manifest_parts import assemble
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.plan.cadence import known_zone
from dr.sources import database_inventory as facts
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.tables import Beside, Table, Tables
from dr.tools.host import Host, ThisHost
from dr.tools.restic import Repository
from dr.tools.restic_events import Stored

MANIFEST = "dr-manifest"
#: Beside it while live databases are replaced: what puts them back as they were.
WAY_BACK = "undo.sql"
#: What is noted of a database where single tables were asked for.
ALONE = "of {} all definitions were loaded, and the rows of what was named alone"
#: So many characters of a refused statement are shown.
_BEGINNING = 120


@dataclass(frozen=True)
class Settled:
    """How a tree stood when restic had ended: what changed meanwhile, and whether the manifest says so anew."""

    changed: tuple[bytes, ...] = ()
    vanished: int = 0
    amended: bool = False
    #: What restic stored although it was not listed, and what is there and was not stored.
    appeared: int = 0
    unstored: tuple[bytes, ...] = ()
    omissions: tuple[Omission, ...] = ()

    def without(self, unreadable: Iterable[str]) -> Settled:
        """Leave out of `unstored` what lies at and below paths of which it is said that they could not be read."""
        shut = {os.fsencode(path) for path in unreadable}
        kept = (path for path in self.unstored if not any(above in shut for above in upward(path)))
        return replace(self, unstored=tuple(kept)) if shut else self


def upward(path: bytes) -> Iterator[bytes]:
    """Yield a path and all above it."""
    yield path
    while path not in (b"/", b""):
        path = posixpath.dirname(path)
        yield path


@dataclass(frozen=True)
class Kept:
    """What one snapshot holds of a source: files and directories as restic counted them, and its nodes when asked for.

    Where they cannot be listed, `lost` is told, and it is passed over. `beside`: among the nodes is our manifest, which
    is not counted.
    """

    files: int
    dirs: int
    nodes: Callable[[], Iterable[Mapping[str, Any]]] = field(repr=False)
    lost: Callable[[DrError], None] | None = field(repr=False, default=None)
    beside: bool = False


def _as_it_was(kept: Sequence[Kept]) -> Settled:
    """Nothing of it can have changed."""
    return Settled()


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A capture that restic walks: `paths` absolute, or relative to `cwd`, where the manifest lies too.

    `unreadable` files are there and could not be read; `missing` are declared paths that are not there.
    `emptied`: something that was captured last is gone altogether, so that the next is held against that one too.
    `notes` are worth a line once, and nothing is amiss. `reader` is who read it, as `USER` or `USER@HOST`.
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
    omissions: tuple[Omission, ...] = ()
    emptied: bool = False
    notes: tuple[str, ...] = ()
    reader: str = ""
    manifest_name: str = MANIFEST
    settler: Callable[[Sequence[Kept]], Settled] = field(default=_as_it_was, repr=False)

    def settle(self, kept: Sequence[Kept] = ()) -> Settled:
        """Look again at every file after restic has ended, and at what its snapshots hold; amend the manifest.

        Raises what listing a snapshot raises.
        """
        return self.settler(kept)


class Stream(ABC):
    """A capture that we pump: bytes stored under `filename`.

    `sidecars` are names of files in the capture's `work` that are stored beside the manifest, once the
    stream has ended: what a restore needs to know of it, or judges it by.
    """

    filename: str
    started: datetime
    sidecars: tuple[str, ...] = ()
    #: What the capture does not take or cannot see: read when `chunks` has ended.
    omissions: tuple[Omission, ...] = ()

    @abstractmethod
    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes; raises `SourceError` when the source fails, even after its last byte."""

    @abstractmethod
    def close(self) -> None:
        """End the source. Safe at any time, and twice."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a host has stored by itself, and how it stood before and after; the manifest that says so is in `work`.

    The rest is as a `Tree` has it.
    """

    stored: Stored
    files: int
    bytes: int
    settled: Settled = field(default_factory=Settled)
    unreadable: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    omissions: tuple[Omission, ...] = ()
    emptied: bool = False
    notes: tuple[str, ...] = ()
    reader: str = ""


class AgentCapture(ABC):
    """A capture that its own host stores: restic runs there, and the data does not pass through this machine."""

    #: The host in words, for messages.
    host: str
    #: Files in the capture's `work` that are stored beside the manifest once it is sent, as a `Stream`'s are.
    sidecars: tuple[str, ...] = ()

    @abstractmethod
    def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
        """Let the host store it as one snapshot, and write its manifest here. May be called for targets in turn.

        Raises `SourceError` when it could not be captured; another `DrError` when the target cannot take it.
        """


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An object, other than data, that a server refused when it was to be restored.

    `name` is what a person types, DATABASE.OBJECT, and `kind` what it is ("view"); `statement` is how what would make
    it begins, `cause` what the server said. `keys` are the names in `DatabaseInventory.objects` of what is missing with
    it. `lacked`: it was broken at the source already, so that a recovery can give no more.
    """

    name: str
    kind: str
    statement: str = ""
    cause: str = ""
    keys: tuple[str, ...] = ()
    lacked: bool = False

    def __str__(self) -> str:
        """Say it in one line."""
        shown = " ".join(self.statement.split())
        begun = f": {shown if len(shown) <= _BEGINNING else shown[:_BEGINNING] + '…'}" if shown else ""
        why = f" ({self.cause})" if self.cause else ""
        how = "was missing or broken at the source" if self.lacked else "was refused"
        return f"the {self.kind} {self.name} {how}{why}{begun}"


@dataclass(frozen=True, kw_only=True)
class RestoreSlot:
    """Where one source is brought back.

    `root` is its directory; restic lays files down there. `apart` is where its manifest and sidecars are
    laid first. `annex` makes a directory with a short path, outside every private one, that goes away with
    the sandbox: for services and their sockets. `host` is where `root` and annexes lie; `apart` is always here.
    `real` says that the real place is meant, not a sandbox;
    then `replace` names the live databases that may be replaced, and `accepted` the objects, as DATABASE.OBJECT, that
    may be missing from what is restored. `token` is the id of the drill or recovery. `only` names the databases that
    are needed, where that is known: others of the same stream are read and not loaded. `tables` names of a database the
    tables whose rows are needed, each by its names below the database; where it names none, all are.
    """

    root: Path
    apart: Path
    annex: Callable[[str], Path]
    token: str
    real: bool = False
    replace: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    tables: Mapping[str, frozenset[tuple[str, ...]]] = field(default_factory=dict)
    host: Host = field(default_factory=ThisHost)


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """A file of a point that tells of its tables: stored beside the manifest, or the `data` itself.

    `most` is how many bytes of its beginning are enough.
    """

    file: str
    data: bool = False
    most: int = 1 << 30


class RestoredSource:
    """One source brought back in a room: files as they lie there. Kinds that run a service override.

    Called in this order: `preflight`, `provision`, then `pour` (where `takes_stream`) or restic's restore,
    `settle`, `start`, queries and checks, `accept` (a real recovery that passed) or `rehearse` (a drill that did),
    and always `close`.
    """

    #: Whether what was captured goes into a service by `pour`, rather than to `root` as files.
    takes_stream = False
    #: By which file `foreseen_tables` knows: whoever asks before anything is restored lays that into `apart`.
    tells_tables: Foretold | None = None
    #: The bytes that a service of its own takes while it holds nothing: its own tables, and its first log.
    empty_bytes = 0

    def __init__(self, name: str, kind: str, room: RestoreSlot) -> None:
        self.name, self.kind, self.room = name, kind, room
        #: What the service refused while it took the data, and could do without: complete once `start` was called.
        self.refusals: list[Refused] = []
        #: Facts about what was restored that are no fault of it.
        self.notes: list[str] = []
        #: How the time of the newest record was read, where that is a matter of reading: follows that time.
        self.reading = ""
        #: What else a person should know of what was restored; each makes the outcome degraded.
        self.remarks: list[str] = []

    @property
    def unaccepted(self) -> list[Refused]:
        """What was refused, was whole at the source, and nobody said may be missing."""
        return [each for each in self.refusals if not each.lacked and each.name not in self.room.accepted]

    def preflight(self) -> None:
        """Raise `UsageError`, with nothing touched, when a real recovery must not begin."""

    def provision(self) -> None:
        """Make ready what takes the data: a scratch server, a new database. Called by the thread that stays."""

    def data_place(self) -> tuple[Host, Path] | None:
        """Return where a server that runs already keeps its data; None where it has none, or does not say."""
        return None

    def pour(self, filename: str, chunks: Iterator[bytes]) -> None:
        """Take the stored stream. Raises `DrError` when it is not taken whole."""
        raise NotImplementedError

    def settle(self) -> Path | None:
        """Put in order what restic laid down: the manifest goes aside; its new path is returned.

        Parts that make no whole stay a folder: whoever reads that as a manifest is refused.
        """
        listed, aside = self.room.root / MANIFEST, self.room.apart / f"{MANIFEST}.laid"
        if not listed.exists():
            return None
        self.room.apart.mkdir(mode=0o700, parents=True, exist_ok=True)
        if aside.is_dir():  # one of an interrupted call
            shutil.rmtree(aside)
        aside.unlink(missing_ok=True)
        shutil.move(listed, aside)  # beside one that was amended later
        if aside.is_dir():
            with suppress(DamageError):
                assemble(aside)
        return aside

    def start(self) -> None:
        """Make what was restored answer; `SourceError` when it does not."""

    def probe(self, query: str, database: str | None = None) -> object:
        """Return the one value of a query on what was restored; `SourceError` where there is none."""
        raise SourceError(f"a {self.kind} source answers no queries", self.name, hint="query a database source instead")

    def newest(self) -> datetime | None:
        """Return the time of the newest record restored; None where the plan has no probe for it.

        `reading` says afterwards in which zone a time was read that has none.
        """
        return None

    def read_newest(self, value: object, declared: str | None, of_server: str = "") -> datetime | None:
        """Return a moment from a query's value; one without a zone is read in that declared, its server's, or UTC."""
        zone, whose = next(
            pair
            for pair in ((declared, "as declared"), (of_server, "the server's"), ("UTC", "none is known"))
            if pair[0] and known_zone(pair[0])
        )
        self.reading = f" (it has no time zone: read in {zone}, {whose})" if has_no_zone(value) else ""
        return parse_timestamp(value, str(zone))

    def captured(self) -> DatabaseInventory | None:
        """Return what was recorded of the databases at capture; None where nothing was."""
        return facts.read(self.room.apart / facts.FILENAME)

    def facts(self) -> DatabaseInventory | None:
        """Return the same of the databases as they are now; None where the kind records nothing."""
        return None

    def connection(self) -> Mapping[str, str]:
        """Return the environment by which programs reach the restored service; empty where there is none."""
        return {}

    def foreseen_tables(self) -> list[Table] | None:
        """Return the tables that were recorded at capture, before anything is loaded; None where nobody did."""
        return None

    def refuse_condition(self, table: Table, where: str) -> None:
        """Raise `SourceError` where a condition on a foreseen table is seen to be none, before anything is loaded."""

    def tables(self) -> Tables:
        """Return what reads single tables of what was restored; of kinds that hold tables. Between start and close."""
        raise SourceError(f"a {self.kind} source holds no tables", self.name, hint="name a database source")

    def accept(self) -> None:
        """Put what was restored into its real place, now that it passed. Raises `DrError`; the old stays then."""

    def rehearse(self) -> None:
        """Try in a drill, on what passed, what `accept` does in a recovery. Raises `DrError` when it would fail."""

    def close(self) -> None:
        """Stop what runs and take away what was not accepted. Safe at any time, and twice."""


class SourceDriver(ABC):
    """The doors every kind of source has: `capture`, and those of the `RestoredSource` that a restore makes of it."""

    kind: str

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def capture(self, work: Path, reuse: Path | None) -> Tree | Stream | AgentCapture:
        """Begin a capture, with `work` as scratch space and the last manifest to reuse hashes from.

        Raises `SourceError` when there is nothing that could be captured.
        """

    def omissions(self) -> Sequence[Omission]:
        """Look at what a capture made now would not take or could not see. Changes nothing; for `dr doctor`.

        Raises `SourceError` when the source does not answer.
        """
        return ()

    def restored(self, room: RestoreSlot) -> RestoredSource:
        """Return what a restore makes of this source in a room. Nothing is touched yet."""
        return RestoredSource(self.name, self.kind, room)

    def beside(self) -> Beside:
        """Return what loads a table beside the live one; of kinds that hold tables. Nothing is touched yet."""
        raise SourceError(f"a {self.kind} source holds no tables", self.name, hint="name a database source")


def has_no_zone(value: object) -> bool:
    """Whether what a database gives is a date and time without a zone: a matter of reading."""
    try:
        return datetime.fromisoformat(str(value).strip()).tzinfo is None and not str(value).strip().isdigit()
    except ValueError:
        return False


def parse_timestamp(value: object, zone: str = "UTC") -> datetime | None:
    """Return a moment from what databases give: ISO text (in `zone` when it has none) or epoch s, ms, µs, ns.

    None for anything else. A number too small to be a time after 1973 is a count or a Julian day, not a time.
    """
    text = str(value).strip()
    try:
        if isinstance(value, int | float) or re.fullmatch(r"\d{9,19}(\.\d+)?", text):
            return _from_epoch(float(text))
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
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
