"""What of a database is no data: triggers, routines, events and views, as a dump program writes them.

A dump is sorted while it passes: tables and their rows go on, what makes code is put aside in pieces. Pieces are made
in one way wherever they are needed: in a drill, beside a live database, in its place, and when that is undone.
Routines come first, then views (again, as long as more of them can be made: one may look at another, in whatever
order they are named), then what runs by itself. So no view stands for another meanwhile, and each piece that the
server refuses is known by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Literal

from dr.errors import SourceError
from dr.late_dataclass import dataclass
from dr.sources.driver import Refused
from dr.sources.mysql.connection import PASSING, Server, complaint, quoted
from dr.sources.mysql.inventory import account_of
from dr.sources.mysql.split_dump import asleep, awake, renamed
from dr.sources.own_errors import own_errors
from dr.tools import command

Kind = Literal["trigger", "routine", "event", "view"]

#: Seconds that making code may take.
_SECONDS = 3600
#: Under these settings a dump program's statements are meant to be carried out.
OPENING = b"""SET NAMES utf8mb4;
SET time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 0, lock_wait_timeout = 60, sql_notes = 0;
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
"""
_MUTE = 'exec "$@" >/dev/null'
_FAILED = re.compile(rb"^ERROR (\d+) \(\w+\) at line (\d+).*$", re.MULTILINE)

# How sections of a dump begin, and what ends them.
_STAND_IN = re.compile(rb"-- Temporary (?:table|view) structure for view ")
_STAND_IN_ENDS = (b"SET character_set_client = @saved_cs_client;", b"-- failed on view ")
_EVENTS, _ROUTINES, _VIEW = (
    b"-- Dumping events for ",
    b"-- Dumping routines for ",
    b"-- Final view structure for view ",
)
_TRIGGER = (b"/*!50003 SET @saved_cs_client ", b"ALTER DATABASE `")
_TABLE = b"-- Table structure for "
_OTHERS = (b"-- Dumping data for ", b"-- Sequence structure for ", b"-- Current Database: ", b"-- Dump completed")
_CLOSING = b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE"
#: Where none of these is in a block, it is data.
_MARKS = (b"\n-- ", b"\n/*!50003 ", b"\nALTER DATABASE `", b"\n/*!40103 ")
_LONGEST_MARK = max(map(len, _MARKS))

_NAME = rb"(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\"|[\w$]+)"
_ITEM = rb"(" + _NAME + rb"(?:\s*\.\s*" + _NAME + rb")?)"
_NAMED: dict[Kind, re.Pattern[bytes]] = {
    "trigger": re.compile(rb"\bTRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?" + _ITEM, re.IGNORECASE),
    "routine": re.compile(rb"\b(FUNCTION|PROCEDURE|PACKAGE(?: BODY)?)\s+" + _ITEM, re.IGNORECASE),
    "event": re.compile(rb"\bEVENT\s+" + _ITEM, re.IGNORECASE),
    "view": re.compile(rb"\bVIEW\s+" + _ITEM, re.IGNORECASE),
}
_MAKING = re.compile(rb"^(?:/\*!5\d{4} )?CREATE\b", re.MULTILINE | re.IGNORECASE)
_OWNER = re.compile(rb"\bDEFINER=(`(?:[^`]|``)+`)@(`(?:[^`]|``)*`)")
_HEAD = re.compile(rb"(\bTRIGGER\b)(.*?)(\bON\b)(.*?)(\bFOR\s+EACH\b)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Piece:
    """The statements that make one object of `database`, with the settings they need."""

    kind: Kind
    name: str
    text: bytes
    database: str = ""

    @property
    def full(self) -> str:
        """Its name as a person types it."""
        return f"{self.database}.{self.name}"

    @property
    def statement(self) -> str:
        """The statement that makes it, without the marks of versions."""
        found = _MAKING.search(self.text)
        begin = self.text[found.start() :] if found else self.text
        return re.sub(r"/\*!\d{5} ?|\*/", "", begin[:2000].decode("utf-8", "replace")).strip()

    def at(self, place: str, names: Mapping[str, str], *, sparing: Collection[str] = ()) -> bytes:
        """Return the text that makes it in a database of another name; `names` are those of databases there.

        Databases in `sparing` are pointed to in names of columns alone: a table or an alias may be called like one.
        """
        if place == self.database:
            return self.text
        text = b"".join(renamed([b"\n", self.text], self.database, place))
        if self.kind == "trigger":
            return _HEAD.sub(lambda found: _unbound(found, self.database), text, count=1)
        return _pointed(text, names, sparing) if self.kind == "view" else text


def _pointed(text: bytes, names: Mapping[str, str], sparing: Collection[str]) -> bytes:
    """Return a view's text with what it looks at in some databases looked for in others."""
    for old, new in names.items():
        before, after = (quoted(name).encode("utf-8", "surrogateescape") for name in (old, new))
        column = rb"(?=" + _NAME + rb"\.)" if old in sparing else b""
        text = re.sub(rb"(?<!\.)" + re.escape(before) + rb"\." + column, (after + b".").replace(b"\\", b"\\\\"), text)
    return text


def _unbound(found: re.Match[bytes], database: str) -> bytes:
    """Return a trigger's head without the name of its database, which some say: it would go there."""
    raw = database.encode("utf-8", "surrogateescape")
    forms = (re.escape(form) for form in (quoted(database).encode("utf-8", "surrogateescape"), raw, b'"%b"' % raw))
    name = re.compile(rb"(?<![\w`\"])(?:" + b"|".join(forms) + rb")\s*\.\s*", re.IGNORECASE)
    return found[1] + name.sub(b"", found[2]) + found[3] + name.sub(b"", found[4]) + found[5]


@dataclass(frozen=True)
class Fault:
    """A piece that the server refused in the database `place`."""

    piece: Piece
    place: str
    error: SourceError

    def refused(self, known: Iterable[str] = ()) -> Refused:
        """Return it as what a person is told; `known` are the names of all objects that were captured."""
        piece = self.piece
        keys = tuple(key for key in known if _is_about(key, piece))
        return Refused(name=piece.full, kind=piece.kind, statement=piece.statement, cause=self.error.cause, keys=keys)


def _is_about(key: str, piece: Piece) -> bool:
    """Whether an object's name in facts is that of a piece: of a trigger, it has the table's too."""
    words = {"view": ("view", "columns of"), "trigger": ("trigger",), "event": ("event",)}
    kinds = words.get(piece.kind, ("function", "procedure", "package", "package body"))
    if piece.kind == "trigger":
        return key.startswith(f"trigger {piece.database}.") and key.endswith(f".{piece.name}")
    return key in {f"{kind} {piece.full}" for kind in kinds}


@dataclass(frozen=True)
class Code:
    """All code of one database, in the order in which it was dumped."""

    pieces: tuple[Piece, ...] = ()

    def of(self, *kinds: Kind) -> list[Piece]:
        """Return the pieces of some kinds."""
        return [piece for piece in self.pieces if piece.kind in kinds]

    def owners(self) -> list[str]:
        """Return the accounts that it belongs to, with whose rights it may run."""
        pairs = {found.groups() for piece in self.pieces for found in _OWNER.finditer(piece.text)}
        return sorted(account_of("@".join(map(_plain, pair))) for pair in pairs)

    def asleep(self) -> Code:
        """Return it with events that do not run."""
        return Code(tuple(replace(p, text=asleep(p.text)) if p.kind == "event" else p for p in self.pieces))

    def awake(self) -> set[str]:
        """Return the names of its events that would run."""
        return {name for piece in self.of("event") for name in awake(piece.text)}


@dataclass
class Sorting:
    """A database's dump, sorted: what holds data passes, what makes code is gathered. Views that stood in for others
    are left out. `names`: what databases are called meanwhile that tables point into (sequences, foreign keys). `only`:
    the tables of which rows pass, all where it is empty; definitions all pass.
    """

    database: str
    names: Mapping[str, str] = field(default_factory=dict)
    only: Collection[str] = ()
    _pieces: list[Piece] = field(default_factory=list)
    _lines: list[bytes] = field(default_factory=list)
    _state: str = "data"
    _quoting: bool = False

    def passing(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what holds data. May be called for several parts of a database, one after the other."""
        held, within = b"", False  # `within`: it goes on with a line of which the beginning has passed
        for block in blocks:
            held += block
            if self._state in ("data", "skipped") and not self._marked(held, within=within):
                safe = max(0, len(held) - _LONGEST_MARK)
                if safe:
                    yield held[:safe] if self._state == "data" else b""
                    within, held = held[safe - 1 : safe] != b"\n", held[safe:]
                continue
            *lines, rest = held.split(b"\n")
            passed = [kept for n, line in enumerate(lines) for kept in self._take(line + b"\n", raw=within and not n)]
            held, within = rest, within and not lines
            if passed:
                yield b"".join(passed)
        yield b"".join(self._take(held, raw=within))
        self._end()

    def _marked(self, held: bytes, *, within: bool) -> bool:
        """Whether a section may begin in it."""
        return any(mark in held or (not within and held.startswith(mark[1:])) for mark in _MARKS)

    def code(self) -> Code:
        """Return the code that was gathered."""
        return Code(tuple(self._pieces))

    def _take(self, line: bytes, *, raw: bool = False) -> Iterator[bytes]:
        """Take one line; yield it when it is data. `raw`: only the end of one."""
        if raw:
            yield line if self._state != "skipped" else b""
            return
        if line.startswith(b"DELIMITER "):
            self._quoting = line.rstrip() != b"DELIMITER ;"
        elif not self._quoting:
            if self._state == "stand-in" and line.startswith(_STAND_IN_ENDS):
                self._state = "data"
                return
            self._turn(line)
        if self._state in ("data", "table"):
            yield line if self._state == "data" else self._pointed(line)
        elif self._state not in ("stand-in", "skipped"):
            self._lines.append(line)
            if self._state in ("event", "routine") and line.startswith(b"DELIMITER ;\n"):
                self._end_piece()

    def _pointed(self, line: bytes) -> bytes:
        """Return a line of a table's definition, with databases by the names they have meanwhile."""
        for old, new in self.names.items():
            before, after = (quoted(name).encode("utf-8", "surrogateescape") + b"." for name in (old, new))
            for form in (b"nextval(%b", b"lastval(%b", b"REFERENCES %b"):
                line = line.replace(form % before, form % after)
        return line

    def _turn(self, line: bytes) -> None:
        """Go over to another section where a line begins one."""
        state = self._state
        if _STAND_IN.match(line):
            state = "stand-in"
        elif line.startswith((_EVENTS, _ROUTINES, _VIEW)):
            state = "event" if line.startswith(_EVENTS) else "routine" if line.startswith(_ROUTINES) else "view"
            self._end()
        elif line.startswith(_TABLE):
            state = "table"
        elif line.startswith((*_OTHERS, _CLOSING)) or (state == "trigger" and line.strip() in (b"", b"--")):
            state = "data" if self._passes(line) else "skipped"
        elif state in ("data", "table", "skipped") and line.startswith(_TRIGGER):
            state = "trigger"
        elif state == "trigger" and line.startswith(_TRIGGER[0]) and self._made():
            self._end_piece()
        if state != self._state:
            self._end()
            self._state = state

    def _passes(self, line: bytes) -> bool:
        """Whether what begins with a line is wanted: rows of a table may not be."""
        if not (self.only and line.startswith(_OTHERS[0])):
            return True
        return any(quoted(name).encode("utf-8", "surrogateescape") in line for name in self.only)

    def _made(self) -> bool:
        return any(_MAKING.match(line) for line in self._lines)

    def _end(self) -> None:
        """End a section: what restores settings belongs to its last piece."""
        if self._lines and self._made():
            self._end_piece()
        elif self._lines and self._pieces:
            self._pieces[-1] = replace(self._pieces[-1], text=self._pieces[-1].text + b"".join(self._lines))
        self._lines = []

    def _end_piece(self) -> None:
        """What came since the last piece makes the next; settings that came before belong to it."""
        text, self._lines = b"".join(self._lines), []
        kind: Kind = self._state if self._state not in ("data", "skipped") else "view"  # type: ignore[assignment]
        self._pieces.append(Piece(kind, _name_in(kind, text), text, self.database))


def _name_in(kind: Kind, text: bytes) -> str:
    made = _MAKING.search(text)
    found = _NAMED[kind].search(text, made.start() if made else 0)
    return _plain(re.findall(_NAME, found[found.re.groups])[-1] if found else b"?")


def _plain(name: bytes) -> str:
    """Return a name without its quotes."""
    for mark in (b"`", b'"'):
        if name.startswith(mark):
            name = name[1:-1].replace(mark + mark, mark)
    return name.decode("utf-8", "surrogateescape")


# -- making it -----------------------------------------------------------------------------------------


def make(
    server: Server,
    codes: Mapping[str, Code],
    names: Mapping[str, str] | None = None,
    *,
    between: Callable[[], None] = lambda: None,
    made: list[tuple[str, Piece]] | None = None,
) -> list[Fault]:
    """Make code in databases, given by the names they have there; return what was refused.

    `names`: captured databases and what they are called there. `between` is called when routines are there, before
    views, which may need rights on them. `made` is given each view in an order in which all can be made. Raises
    `SourceError` when the connection is lost.
    """
    names = names or {}
    faults = [f for place, code in codes.items() for f in _load(server, place, code.of("routine"), names)]
    between()
    faults += _make_views(server, codes, names, [] if made is None else made)
    for place, code in codes.items():
        faults += _load(server, place, code.of("trigger"), names)
        faults += _load(server, place, code.of("event"), names)
    return faults


def _make_views(
    server: Server, codes: Mapping[str, Code], names: Mapping[str, str], made: list[tuple[str, Piece]]
) -> list[Fault]:
    """Make views that may look at each other's, also across databases: as long as more of them can be made.

    Databases that have another name meanwhile are looked for by that; where a view cannot be made so, as a table or
    an alias is called like one of them, it is made as it stands.
    """
    waiting = {place: code.of("view") for place, code in codes.items()}
    faults: list[Fault] = []
    for known, sparing in _ways(names):
        while any(waiting.values()):
            faults = [
                f
                for place, pieces in waiting.items()
                for f in _load(server, place, pieces, known, sparing=sparing(place))
            ]
            left = {place: [f.piece for f in faults if f.place == place] for place in waiting}
            made += [(place, p) for place, pieces in waiting.items() for p in pieces if p not in left[place]]
            if left == waiting:
                break
            waiting = left
    return faults if any(waiting.values()) else []


Sparing = Callable[[str], Collection[str]]


def _ways(names: Mapping[str, str]) -> list[tuple[Mapping[str, str], Sparing]]:
    """Return in which ways views are tried: pointed to other databases wholly, less and less, and as they stand."""
    if all(old == new for old, new in names.items()):
        return [(names, lambda place: ())]
    own = {new: (old,) for old, new in names.items()}
    return [
        (names, lambda place: ()),
        (names, lambda place: own.get(place, ())),
        (names, lambda place: tuple(names)),
        ({}, lambda place: ()),
    ]


def _load(
    server: Server,
    place: str,
    pieces: Sequence[Piece],
    names: Mapping[str, str],
    *,
    sparing: Collection[str] = (),
) -> list[Fault]:
    """Carry out pieces in a database; return those of which a statement was refused."""
    if not pieces:
        return []
    script = OPENING
    begins: list[int] = []
    for piece in pieces:
        begins.append(script.count(b"\n") + 1)
        script += piece.at(place, names, sparing=sparing) + b"\n"
    failed: dict[int, bytes] = {}
    for line, said in run_script(server, place, script):
        number = max((n for n, begin in enumerate(begins) if begin <= line), default=0)
        failed.setdefault(number, said)
    what = f"the server refused code of {place}"
    return [
        Fault(pieces[number], place, complaint(what, server.where, said.decode("utf-8", "replace")))
        for number, said in sorted(failed.items())
    ]


def run_script(server: Server, database: str | None, script: bytes) -> list[tuple[int, bytes]]:
    """Carry out a script to its end; return what the server refused, by line. Raises `SourceError` when it is lost."""
    chosen = (f"--database={database}",) if database is not None else ()
    argv = ["sh", "-c", _MUTE, "sh", *server.client_argv("--binary-mode", "--batch", "--force", *chosen)]
    with own_errors(server.where):
        done = server.host.run(argv, env=server.env, timeout=_SECONDS, stdin=script)
    command.raise_if_stopping()
    failed = [(int(found[1]), int(found[2]), found[0]) for found in _FAILED.finditer(done.stderr)]
    if (done.code != 0 and not failed) or any(number in PASSING for number, _, _ in failed):
        said = done.stderr.decode("utf-8", "replace")
        raise complaint(f"statements for {database or 'the server'} were not carried out", server.where, said)
    return [(line, said) for _, line, said in failed]
