"""What objects on a REST server are called that have a name of their own: read once from each, and kept.

An object's id is the hash of its bytes, so what its first line says never changes: what was read of it is kept in a
file of the state directory's cache, which may be thrown away. Which objects are there is asked of the server each time.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dr.late_dataclass import dataclass

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
#: Objects whose first lines are read before what they say is kept.
_AT_ONCE = 4096
#: Rows that are held in memory of a list of names.
_PAGE = 1000
_HEADS = """(
    folder text not null, id text not null, name text not null, written integer not null, size integer not null,
    head integer not null, primary key (folder, id)) without rowid"""
_SCHEMA = f"""
create table heads {_HEADS};
create index names on heads (folder, name, written);
create table there (folder text not null, id text not null, size integer not null, strange integer not null default 0,
    given integer not null default 0, primary key (folder, id)) without rowid;
"""
_OURS = "select name, heads.size, written, heads.id, head from heads join there using (folder, id)"
_GONE = "delete from heads where folder = ? and (folder, id) not in (select folder, id from there)"
_KEPT_GONE = "delete from kept.heads where folder = ? and (folder, id) not in (select folder, id from there)"
_RECALLED = (
    "insert or ignore into heads select * from kept.heads"
    " where folder = ? and (folder, id) in (select folder, id from there)"
)
_BELOW = (
    "select name, heads.size, max(written), heads.id, head from heads join there using (folder, id)"
    " where folder = ? and name >= ? and name > ? and substr(name, 1, ?) = ? group by name order by name limit ?"
)


@dataclass(frozen=True)
class Named:
    """One object that has a name of its own; `size` is that of its content in bytes, behind `head` bytes of its own."""

    id: str
    name: str
    written: datetime
    size: int
    head: int


class RestNames:
    """The names below each folder of a server. Safe for several threads; `kept` is the file of what was read before.

    What it works with is private and on disk as soon as it is large. No fault of the kept file is one of the store:
    what it does not tell is read again.
    """

    def __init__(self, kept: Path | None = None) -> None:
        self._kept, self._guard = kept, threading.RLock()
        self._listed: dict[str, float] = {}
        self.made: set[str] = set()  # folders that were made, or were seen to be there
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._db.close)
        self._db.executescript(_SCHEMA)
        if kept:
            self._attach(kept)

    def age(self, folder: str) -> float:
        """Return for how many seconds the last list of a folder has been known; infinite where there was none."""
        return time.monotonic() - self._listed.get(folder, float("-inf"))

    def relist(
        self,
        folder: str,
        listed: Iterable[tuple[str, int]],
        read: Callable[[list[tuple[str, int]]], Iterable[Named | None]],
    ) -> None:
        """Take in what a folder holds now, ids and sizes; `read` returns what those say that are not known yet."""
        with self._guard:
            at = time.monotonic()
            with self._transaction():
                self._db.execute("delete from there where folder = ?", (folder,))
                rows = ((folder, each, size) for each, size in listed)
                self._db.executemany("insert or ignore into there (folder, id, size) values (?, ?, ?)", rows)
                self._db.execute(_GONE, (folder,))
            self._recall(folder)
            while fresh := self._unknown(folder):
                self._learn(folder, fresh, read(fresh))
            self._listed[folder] = at

    def newest(self, folder: str, name: str) -> Named | None:
        """Return the object of a name that was written last, as the folder was listed last; None: there is none."""
        with self._guard:
            found = self._db.execute(
                f"{_OURS} where folder = ? and name = ? order by written desc, id desc limit 1", (folder, name)
            ).fetchone()
        return _named(*found) if found else None

    def given(self, folder: str, name: str) -> Named | None:
        """Return what `below` yielded of a name, once: who reads all of a list lists them once, and not for each."""
        with self._guard:
            found = self._db.execute(f"{_OURS} where folder = ? and name = ? and given", (folder, name)).fetchone()
            if found:
                self._db.execute("update there set given = 0 where folder = ? and id = ?", (folder, found[3]))
        return _named(*found) if found else None

    def ids(self, folder: str, name: str) -> list[str]:
        """Return the ids of all objects of a name."""
        with self._guard:
            return [row[3] for row in self._db.execute(f"{_OURS} where folder = ? and name = ?", (folder, name))]

    def below(self, folder: str, start: str) -> Iterator[Named]:
        """Yield the newest of each name that begins with `start`, in the order of names; `given` gives each again."""
        last = ""
        while True:
            with self._guard:
                page = self._db.execute(_BELOW, (folder, start, last, len(start), start, _PAGE)).fetchall()
                marked = ((folder, row[3]) for row in page)
                self._db.executemany("update there set given = 1 where folder = ? and id = ?", marked)
            yield from (_named(*row) for row in page)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def add(self, folder: str, made: Named) -> None:
        """Take in what was written now."""
        row = _row(folder, made)
        with self._guard:
            self._db.execute(
                "insert or replace into there (folder, id, size) values (?, ?, ?)", (folder, made.id, made.size)
            )
            self._db.execute("insert or replace into heads values (?, ?, ?, ?, ?, ?)", row)
            self._keep([row])

    def drop(self, folder: str, made: str) -> None:
        """Take out what was removed now, by its id."""
        with self._guard:
            self._db.execute("delete from there where folder = ? and id = ?", (folder, made))

    # -- what was read, and what was kept -----------------------------------------------------------

    def _unknown(self, folder: str) -> list[tuple[str, int]]:
        """Return some of the objects whose first lines nobody has read yet: ids and sizes."""
        return self._db.execute(
            "select id, size from there where folder = ? and not strange and not exists"
            " (select 1 from heads where heads.folder = there.folder and heads.id = there.id) limit ?",
            (folder, _AT_ONCE),
        ).fetchall()

    def _learn(self, folder: str, asked: list[tuple[str, int]], read: Iterable[Named | None]) -> None:
        rows, strange = [], []
        for (each, _), said in zip(asked, read, strict=True):
            if said:
                rows.append(_row(folder, said))
            else:
                strange.append((folder, each))
        self._db.executemany("insert or replace into heads values (?, ?, ?, ?, ?, ?)", rows)
        self._db.executemany("update there set strange = 1 where folder = ? and id = ?", strange)
        self._keep(rows)

    def _attach(self, kept: Path) -> None:
        """Open the kept file, made when absent; go on without where that cannot be."""
        try:
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db.execute("attach ? as kept", (str(kept),))
            self._db.execute(f"create table if not exists kept.heads {_HEADS}")
        except (OSError, sqlite3.Error) as error:
            self._without(error)

    def _recall(self, folder: str) -> None:
        """Take what was kept of a folder, and keep nothing of what is gone."""
        if not self._kept:
            return
        with self._while_usable(), self._transaction():
            self._db.execute(_RECALLED, (folder,))
            self._db.execute(_KEPT_GONE, (folder,))

    def _keep(self, rows: list[tuple[object, ...]]) -> None:
        if not rows or not self._kept:
            return
        with self._while_usable(), self._transaction():
            self._db.executemany("insert or replace into kept.heads values (?, ?, ?, ?, ?, ?)", rows)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin")
        try:
            yield
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()

    @contextlib.contextmanager
    def _while_usable(self) -> Iterator[None]:
        """Work with the kept file; go on without it where it cannot be used."""
        try:
            yield
        except sqlite3.Error as error:
            self._without(error)

    def _without(self, error: Exception) -> None:
        """Go on without the kept file; one that is damaged is thrown away, and made again by the next program."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("detach kept")
        if self._kept and isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            with contextlib.suppress(OSError):
                self._kept.unlink()
        self._kept = None


def _row(folder: str, made: Named) -> tuple[object, ...]:
    return folder, made.id, made.name, (made.written - _EPOCH) // _MICROSECOND, made.size, made.head


def _named(name: str, size: int, written: int, made: str, head: int) -> Named:
    return Named(made, name, _EPOCH + written * _MICROSECOND, size, head)
