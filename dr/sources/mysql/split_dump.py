"""A dump of several databases cut into one file a database, each of which restores under any name.

A dump program writes all databases in one transaction: first each with its tables and code, then the views of
each. Cut there, with the dump's opening settings before every file and without the lines that name the database,
each file is a dump as of one database: `mariadb NAME < NAME.sql`, and when all are there, `NAME.views.sql`. One
database alone is one file; lines of our own say where its opening ends and its views begin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from urllib.parse import unquote

from dr.errors import SourceError
from dr.sources.mysql.connection import quoted

#: The stream of several databases, a tar.
SEVERAL = "databases.tar"
#: The same as the dump program wrote it: it is cut when it is restored. No database's file is called so.
SEVERAL_WHOLE = "several.databases.whole.sql"
_WHOLE = ".whole"
_VIEWS = ".views"
_OPENED = b"\n-- Here the opening ends.\n"
_VIEWED = b"\n-- Here the views begin.\n"
#: The line of a dump that makes an event which would run at once.
_LIVE_EVENT = re.compile(
    rb"^(/\*!50106 CREATE\*/ (?:(?!ON COMPLETION).)*ON COMPLETION(?: NOT)? PRESERVE) ENABLE\b", re.MULTILINE
)


def file_of(database: str, *, views: bool = False, whole: bool = False) -> str:
    """Return the name of a database's file. No `/`, and no `.` but ours. `whole`: as the dump program wrote it."""
    safe = re.sub(r"[^\w$-]", lambda found: _escaped(found[0]), database)
    return f"{safe}{_VIEWS if views else ''}{_WHOLE if whole else ''}.sql"


def is_whole(filename: str) -> bool:
    """Whether it is one database's dump as the dump program wrote it."""
    return filename.endswith(f"{_WHOLE}.sql")


def holds_views(filename: str) -> bool:
    """Whether it is the file of a database's views."""
    return filename.endswith(f"{_VIEWS}.sql")


def database_of(filename: str) -> str:
    """Return the database whose file it is."""
    return unquote(filename.removesuffix(".sql").removesuffix(_WHOLE).removesuffix(_VIEWS))


def _escaped(character: str) -> str:
    # What is no ASCII stays: a long name in escapes would be longer than file names may be.
    return f"%{ord(character):02X}" if character.isascii() else character


class Text:
    """A stream of text to be cut at marks. `ended`: a mark was looked for until the end."""

    def __init__(self, blocks: Iterable[bytes], where: str) -> None:
        self._blocks, self._held, self._where = iter(blocks), b"", where
        self.ended = False

    def until(self, mark: bytes) -> Iterator[bytes]:
        """Yield what comes before a mark and pass over it. Raises `SourceError` when it does not come."""
        yield from self._find(mark)
        if not self._held.startswith(mark):
            raise SourceError(
                "the dump does not look as expected", self._where, f"{_shown(mark)} did not come",
                hint="see the version of the dump program, and report it",
            )  # fmt: skip
        self._held = self._held[len(mark) :]

    def perhaps_until(self, mark: bytes) -> Iterator[bytes]:
        """Yield what comes before a mark and pass over it; everything, when it does not come."""
        yield from self._find(mark)
        self._held = self._held[len(mark) :]

    def rest(self) -> Iterator[bytes]:
        """Yield all that is left."""
        held, self._held = self._held, b""
        yield from chain([held] if held else [], self._blocks)

    def _find(self, mark: bytes) -> Iterator[bytes]:
        """Yield what comes before a mark, and hold what begins with it; hold nothing when it does not come."""
        while (at := self._held.find(mark)) < 0:
            block = next(self._blocks, None)
            if block is None:
                self.ended = True
                held, self._held = self._held, b""
                if held:
                    yield held
                return
            safe = max(0, len(self._held) - len(mark) + 1)
            if safe:
                yield self._held[:safe]
            self._held = self._held[safe:] + block
        if at:
            yield self._held[:at]
        self._held = self._held[at:]


def _shown(mark: bytes) -> str:
    return repr(" ".join(mark.decode("utf-8", "replace").replace("-", "").split()))[:200]


def cut(blocks: Iterable[bytes], databases: Sequence[str], where: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield a dump's files in order, each to be read before the next. Raises `SourceError` where one is missing."""
    text, names = Text(blocks, where), [_name(database) for database in databases]
    opening = b"".join(text.until(_tables(names[0])))
    ends = [*map(_tables, names[1:]), _views(names[0])]
    for database, name, end in zip(databases, names, ends, strict=True):
        first = opening + _alter(text, name)
        # The views' part is there only when any of the databases has a view.
        yield file_of(database), chain([first], text.perhaps_until(end) if end is ends[-1] else text.until(end))
    if text.ended:
        return
    for database, end in zip(databases, [*map(_views, names[1:]), b""], strict=True):
        yield file_of(database, views=True), chain([opening], text.until(end) if end else text.rest())


def cut_one(blocks: Iterable[bytes], database: str, where: str) -> Iterator[bytes]:
    """Yield the dump of one database as one file."""
    text, name = Text(blocks, where), _name(database)
    yield b"".join(text.until(_tables(name))) + _OPENED
    yield _alter(text, name)
    yield from text.perhaps_until(_views(name))
    if not text.ended:
        yield _VIEWED
        yield from text.rest()


def parts_of(blocks: Iterable[bytes], where: str) -> Iterator[tuple[bool, Iterator[bytes]]]:
    """Yield the file of one database in two parts: what is no view, and the views (True) where it has any."""
    text = Text(blocks, where)
    opening = b"".join(text.perhaps_until(_OPENED))
    yield False, chain([opening], text.perhaps_until(_VIEWED))
    if not text.ended:
        yield True, chain([opening], text.rest())


def _name(database: str) -> bytes:
    return quoted(database).encode("utf-8", "surrogateescape")


def _tables(name: bytes) -> bytes:
    return b"\n--\n-- Current Database: %b\n--\n\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ %b" % (name, name)


def _views(name: bytes) -> bytes:
    return b"\n--\n-- Current Database: %b\n--\n\nUSE %b;\n" % (name, name)


def _alter(text: Text, name: bytes) -> bytes:
    """Return what gives a database, of whatever name, the character set that this one has."""
    options = b"".join(text.until(b";\n\nUSE %b;\n" % name)).strip()
    return b"\nALTER DATABASE %b;\n" % options if options else b""


def renamed(blocks: Iterable[bytes], old: str, new: str) -> Iterator[bytes]:
    """Yield a database's file so that the lines which name it, to change its character set, name the new one."""
    before, after = (b"\nALTER DATABASE %b CHARACTER SET " % _name(name) for name in (old, new))
    return _replaced(blocks, before, after)


def _replaced(blocks: Iterable[bytes], old: bytes, new: bytes) -> Iterator[bytes]:
    held = b""
    for block in blocks:
        held = (held + block).replace(old, new)
        safe = max(0, len(held) - len(old) + 1)
        if safe:
            yield held[:safe]
        held = held[safe:]
    if held:
        yield held


def asleep(events: bytes) -> bytes:
    """Return the part of a dump that makes events, so that none of them runs."""
    return _LIVE_EVENT.sub(rb"\1 DISABLE", events)


def awake(events: bytes) -> set[str]:
    """Return the names of those events in such a part that would run."""
    names = (re.search(rb"EVENT `((?:[^`]|``)+)`", found[1]) for found in _LIVE_EVENT.finditer(events))
    return {name[1].replace(b"``", b"`").decode("utf-8", "surrogateescape") for name in names if name}
