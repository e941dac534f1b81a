"""The way back from a swap: a script, written whole before the first change, that a person can run too.

It may be run at any moment of the swap, and twice: it takes away all code of the old and the new, moves the tables
back if they were moved, and makes the code of the old again, in an order that was tried before.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from dr.errors import SourceError
from dr.late_dataclass import dataclass
from dr.sources.driver import WAY_BACK
from dr.sources.mysql import code
from dr.sources.mysql.code import Code, Piece
from dr.sources.mysql.connection import Server, complaint, quoted, text_of

FILENAME = WAY_BACK
#: Kinds of objects, in the order in which they are dropped. Packages are known under one setting of the server only.
DROPPED = ("TRIGGER", "VIEW", "EVENT", "PROCEDURE", "FUNCTION", "PACKAGE BODY", "PACKAGE")
Move = tuple[str, str, str]
Drop = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Way:
    """What leads back. `drops` are kinds, databases and names of all code of the old and the new; `moves` the tables,
    from where to where and under which name, that the swap moves; `settings` what gives databases their character
    sets again; `codes` the old code by database, and `views` its views in the order in which they can be made;
    `grants` the rights on routines; `places` are databases that go away when they hold no table.
    """

    drops: Sequence[Drop]
    moves: Sequence[Move]
    settings: Sequence[tuple[str, str]]
    codes: Mapping[str, Code]
    views: Sequence[tuple[str, Piece]]
    grants: Sequence[str]
    places: Sequence[str]


def drop_statement(kind: str, database: str, name: str) -> str:
    """Return what drops one object, if it is there; in several statements where it must be."""
    plain = f"DROP {kind} IF EXISTS {path_of(database, name)}"
    if not kind.startswith("PACKAGE"):
        return plain
    return f"SET @dr_mode = @@sql_mode; SET sql_mode = 'ORACLE'; {plain}; SET sql_mode = @dr_mode"


def rename_statement(moves: Sequence[Move]) -> str:
    """Return what moves tables, all at once."""
    return "RENAME TABLE " + ", ".join(f"{path_of(old, name)} TO {path_of(new, name)}" for old, new, name in moves)


def path_of(database: str, name: str) -> str:
    """Return an object's name with that of its database."""
    return f"{quoted(database)}.{quoted(name)}"


def write(way: Way, path: Path) -> None:
    """Write the script, lastingly, for its owner's eyes only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(script_of(way))
        file.flush()
        os.fsync(file.fileno())


def run(server: Server, path: Path) -> list[SourceError]:
    """Carry the script out to its end; return what the server refused."""
    what = "a statement of the way back was refused"
    found = code.run_script(server, None, path.read_bytes())
    return [complaint(what, server.where, said.decode("utf-8", "replace")) for _, said in found]


def typed(server: Server, path: Path) -> str:
    """Return the command that carries it out by hand."""
    return f"{shlex.join([server.client, *server.login, '--force'])} < {shlex.quote(str(path))}"


def script_of(way: Way) -> bytes:
    """Return the script."""
    lines = ["-- Puts live databases back as they were before a recovery began to replace them."]
    lines += [f"{drop_statement(kind, database, name)};" for kind, database, name in way.drops]
    if way.moves:
        back = [(new, old, name) for old, new, name in reversed(way.moves)]
        lines += _perhaps(_moved(way.moves), rename_statement(back))
    lines += [f"ALTER DATABASE {quoted(database)} {options};" for database, options in way.settings]
    parts = ["\n".join(lines).encode("utf-8", "surrogateescape")]
    parts += [_made(database, piece) for database, made in way.codes.items() for piece in made.of("routine")]
    parts += [f"{grant};".encode("utf-8", "surrogateescape") for grant in way.grants]
    parts += [_made(database, piece) for database, piece in way.views]
    for kind in ("trigger", "event"):
        parts += [_made(database, piece) for database, made in way.codes.items() for piece in made.of(kind)]
    ends = [
        line for place in way.places for line in _perhaps(_empty(place), f"DROP DATABASE IF EXISTS {quoted(place)}")
    ]
    parts.append("\n".join(ends).encode("utf-8", "surrogateescape"))
    return code.OPENING + b"\n".join(parts) + b"\n"


def _made(database: str, piece: Piece) -> bytes:
    return b"USE %b;\n%b" % (quoted(database).encode("utf-8", "surrogateescape"), piece.text)


def _moved(moves: Sequence[Move]) -> str:
    """Return the condition that holds once the tables were moved: all of them were, or none."""
    old, _, name = moves[-1]
    return f"NOT {_there(old, name)}"


def _there(database: str, name: str) -> str:
    return (
        f"EXISTS (SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {text_of(database)}"  # noqa: S608
        f" AND TABLE_NAME = {text_of(name)})"
    )


def _empty(database: str) -> str:
    return f"NOT EXISTS (SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {text_of(database)})"  # noqa: S608


def _perhaps(condition: str, statement: str) -> list[str]:
    """Return what carries a statement out where a condition holds. In hex: whatever it holds, it is one statement."""
    body = statement.encode("utf-8", "surrogateescape").hex()
    return [
        f"SET @dr = IF({condition}, CONVERT(0x{body} USING utf8mb4), 'DO 0');",
        "PREPARE dr FROM @dr;",
        "EXECUTE dr;",
        "DEALLOCATE PREPARE dr;",
    ]
