"""Single tables of what was restored: which there are, one as SQL and as CSV, one loaded beside the live one.

A kind of source that `holds_tables` gives `Tables` by what a restore makes of it, and `Beside` by its driver. A table
is found by the names that people type, compared letter by letter; nothing is guessed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field

from dr.errors import DrError, SourceError, UsageError
from dr.late_dataclass import dataclass

#: So many tables are named where the one asked for is not there.
_NAMED = 10
_DECORATION = re.compile(r"^ERROR:\s+| at character \d+$")
#: One part of a name, quoted as a server would, or as it stands.
_PART = re.compile(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|[^".`]+')


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table, by its names from the outside in, such as database, schema and table: as many as the kind has.

    `also` are shorter names by which people know it. `kind` is "table", or what else a person may take for one.
    `at_capture`: the rows that were counted when it was captured; None where nobody did.
    """

    names: tuple[str, ...]
    also: tuple[str, ...] = ()
    kind: str = "table"
    at_capture: int | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Its whole name as people type it."""
        return ".".join(self.names)

    def is_called(self, text: str) -> bool:
        """Whether somebody who types this means it."""
        return text in (self.name, *self.also)


@dataclass
class Script:
    """The SQL of a table, to be read once. `left_out` is complete from the beginning: what of it does not come along.

    `needs` is what it takes from its database and does not bring.
    """

    chunks: Iterator[bytes]
    left_out: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Tables(ABC):
    """The tables of one restored source. `where` is a condition of SQL, "" for all rows: it can change nothing."""

    @abstractmethod
    def listed(self) -> list[Table]:
        """Return the tables that were restored, and the views and the like that may be taken for one."""

    @abstractmethod
    def count(self, table: Table, where: str = "") -> int:
        """Count rows at the restored table. Raises `SourceError` with the server's words, such as of the condition."""

    @abstractmethod
    def sql(self, table: Table, where: str = "", *, called: str = "") -> Script:
        """Return what makes the table and its rows in another database, without foreign keys and triggers.

        `called`: under this name, in a database that has what the table needs, and within a transaction of another.
        """

    @abstractmethod
    def csv(self, table: Table, where: str = "") -> Iterator[bytes]:
        """Yield the rows below a header, as RFC 4180 has it: NULL is nothing, an empty text is `""`."""

    @abstractmethod
    def loads(self, table: Table, script: Iterable[bytes]) -> int:
        """Load a script of `sql` where nothing else is, and return the rows counted there; that goes away again.

        Raises `SourceError` with the server's words.
        """


class Beside(ABC):
    """The live database, where a table is loaded beside the one in use. What is there is never changed or removed."""

    @abstractmethod
    def refuse(self, table: Table, name: str) -> None:
        """Raise `UsageError` when the name cannot be a table's there or is taken, `SourceError` when nobody answers."""

    def meanwhile(self, name: str) -> str:
        """Return the name by which a script makes the table: another where a server makes none in a transaction."""
        return name

    @abstractmethod
    def load(self, table: Table, name: str, script: Iterable[bytes], rows: int) -> int:
        """Make the table under a name that is free, and return the rows that were counted there.

        `script` makes it under the name that `meanwhile` gave last. Whole or not at all: killed in the middle, nothing
        bears that name. The server itself refuses a name that is taken. Raises `SourceError` with its words, also when
        other than `rows` rows are there in the end.
        """


@dataclass
class Choice:
    """The tables that a person asked for, found in the lists of one or several sources."""

    found: dict[str, list[Table]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def find(asked: Sequence[str], listed: dict[str, list[Table]], system: str) -> Choice:
    """Return the tables that are meant, by source, each once. Raises `UsageError` for a name that means several."""
    choice = Choice()
    for text in dict.fromkeys(asked):
        there = [(source, each) for source, tables in listed.items() for each in tables if _means(text, each)]
        if len(there) > 1:
            names = ", ".join(f"{each.name} ({source})" for source, each in there[:_NAMED])
            raise UsageError(
                f"{text!r} may be any of {len(there)} tables: {names}", system,
                hint="name it whole, DATABASE.SCHEMA.TABLE or DATABASE.TABLE, and its source with --source",
            )  # fmt: skip
        if not there:
            choice.missing.append(text)
        for source, each in there:
            known = choice.found.setdefault(source, [])
            known += [each] if each not in known else []
    return choice


def _means(text: str, table: Table) -> bool:
    return table.is_called(text) or (('"' in text or "`" in text) and table.is_called(".".join(_parts(text))))


def _parts(text: str) -> Iterator[str]:
    for part in _PART.findall(text):
        quote = part[0] if part[0] in '"`' else ""
        yield part[1:-1].replace(quote * 2, quote) if quote else part


def unknown(missing: Sequence[str], listed: Iterable[Table], system: str) -> DrError:
    """Return the error for tables that are not there: with the nearest names, or those there are."""
    import difflib  # who brings one file back waits for every import

    names = {each.name: each for each in listed}
    forms = {form.lower(): each.name for each in names.values() for form in (*each.also, each.name)}
    near = difflib.get_close_matches(missing[0].lower(), list(forms), n=_NAMED, cutoff=0.6)
    shown = list(dict.fromkeys(forms[each] for each in near)) or sorted(names)[:_NAMED]
    more = f" and {len(names) - len(shown):,} more" if not near and len(names) > len(shown) else ""
    what = "names like it: " if near else "the tables are: "
    hint = what + ", ".join(shown) + more if names else "it holds no tables at all"
    return DrError(f"the point holds no table {missing[0]!r}", system, hint=hint)


def refuse_views(tables: Iterable[Table], system: str) -> None:
    """Raise `UsageError` for what is no table: its rows are those of others."""
    for table in tables:
        if table.kind != "table":
            raise UsageError(
                f"{table.name} is a {table.kind}, which has no rows of its own", system,
                hint="name the table that its rows are in",
            )  # fmt: skip


def of_condition(error: SourceError) -> SourceError:
    """Return what a server said of a condition as the error that it is, in its words without their decoration."""
    words = _DECORATION.sub("", error.cause)
    hint = "correct --where: it is what stands behind WHERE in the database's own SQL"
    return SourceError("the condition cannot be used", error.where, words, hint=hint)


# -- CSV ---------------------------------------------------------------------------------------------


def with_crlf(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield CSV with the line ends of RFC 4180: those between records, not those within quotes."""
    inside = False
    for chunk in chunks:
        parts = chunk.split(b'"')
        for at in range(1 if inside else 0, len(parts), 2):
            parts[at] = parts[at].replace(b"\n", b"\r\n")
        inside ^= len(parts) % 2 == 0
        yield b'"'.join(parts)


def records_in(chunks: Iterable[bytes]) -> int:
    """Return how many records CSV has, its header not counted: a line end within quotes ends none."""
    inside, count = False, 0
    for chunk in chunks:
        parts = chunk.split(b'"')
        count += sum(part.count(b"\n") for part in parts[1 if inside else 0 :: 2])
        inside ^= len(parts) % 2 == 0
    return count - 1


def quoted_csv(text: str) -> str:
    """Return a text as a field of CSV, in quotes whatever it holds: so an empty one is told from NULL."""
    return '"' + text.replace('"', '""') + '"'
