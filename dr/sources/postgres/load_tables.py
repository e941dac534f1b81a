"""Some tables alone out of a dump: all definitions are made, which costs little; of rows only theirs are loaded.

The dump's table of contents says what is in it: `pg_restore -L` takes the entries that are needed and reads past the
others. Tables that are made of others (partitions, inheritance) come with those. What may look at the rows of other
tables while its own are loaded is no table alone: then all is loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from dr.errors import SourceError
from dr.sources.postgres.connection import Server, literal
from dr.sources.postgres.toc import Refusal
from dr.tools.host import script

#: Schema and name of a table.
Names = tuple[str, str]
#: Entries that hold rows, or are made of rows.
_OF_ROWS = (" TABLE DATA ", " MATERIALIZED VIEW DATA ")
_LARGE = (" BLOBS ", " BLOB ", " BLOB METADATA ", " LARGE OBJECT ")
_KEEP_LIST = 'umask 077; f=$(mktemp) && cat >"$f" && echo "$f";'
#: The tables and all that they are made of; null where the value of one's rows hangs on what somebody's function says.
_FAMILY = """
with recursive family(oid) as (
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join (values {names}) w(schema, name) on w.schema = n.nspname and w.name = c.relname
  union select i.inhrelid from pg_inherits i join family f on i.inhparent = f.oid)
select json_build_array(n.nspname, c.relname, not exists (select from pg_depend d
    where d.refclassid = 'pg_proc'::regclass and d.refobjid >= 16384
      and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = d.refobjid
        and e.deptype = 'e')
      and (d.classid = 'pg_constraint'::regclass and d.objid in
          (select k.oid from pg_constraint k where k.conrelid = c.oid and k.contype = 'c')
        or d.classid = 'pg_attrdef'::regclass and d.objid in (select g.oid from pg_attrdef g
          join pg_attribute a on a.attrelid = g.adrelid and a.attnum = g.adnum
          where g.adrelid = c.oid and a.attgenerated <> ''))))
from family f join pg_class c on c.oid = f.oid join pg_namespace n on n.oid = c.relnamespace
"""


def family_of(server: Server, database: str, names: Collection[Names]) -> frozenset[Names] | None:
    """Return tables and those that they are made of, once definitions are there; None where they need all rows."""
    wanted = ", ".join(f"({literal(schema)}, {literal(name)})" for schema, name in names)
    found = server.rows(database, _FAMILY.format(names=wanted))
    if not found or not all(alone for _, _, alone in found):
        return None
    return frozenset((str(schema), str(name)) for schema, name, _ in found)


def entries_for(listed: bytes, family: Collection[Names]) -> tuple[list[bytes], list[bytes]] | None:
    """Return the lines of a table of contents that bring these tables, and those of their foreign keys.

    None where no rows of theirs are named there. A name that another begins with brings that one's rows too.
    """
    begins = tuple(f"{_one_line(schema)} {_one_line(name)} " for schema, name in family)
    kept, keys, rows = list[bytes](), list[bytes](), 0
    for line in listed.splitlines():
        text = line.decode("utf-8", "surrogateescape")
        kind = next((mark for mark in (*_OF_ROWS, *_LARGE, " FK CONSTRAINT ") if _is_of(text, mark)), "")
        theirs = bool(kind) and text.partition(kind)[2].startswith(begins)
        if kind == _OF_ROWS[0] and theirs:
            rows += 1
        elif kind == " FK CONSTRAINT " and theirs:
            keys.append(line)
            continue
        elif kind and kind != " FK CONSTRAINT ":
            continue
        kept.append(line)
    return (kept, keys) if rows else None


def _is_of(line: str, mark: str) -> bool:
    """Whether a line is of an entry of that kind: it begins with three numbers."""
    head, _, rest = line.partition("; ")
    return head.isdecimal() and f" {rest.partition(' ')[2].partition(' ')[2]}".startswith(mark)


def _one_line(name: str) -> str:
    """Return a name as pg_restore lists it."""
    return name.replace("\n", " ").replace("\r", " ")


@contextmanager
def kept_list(server: Server, lines: Sequence[bytes] | None) -> Iterator[tuple[str, ...]]:
    """Give the options that take these entries alone: of a list that is kept where programs run. None: no options."""
    if lines is None:
        yield ()
        return
    made = server.host.run(script(_KEEP_LIST), stdin=b"\n".join([*lines, b""]))
    place = made.stdout.decode("utf-8", "surrogateescape").strip()
    if made.code != 0 or not place:
        raise SourceError("the dump's list cannot be kept", server.name, made.last_words, hint="see that host's disk")
    try:
        yield ("-L", place)
    finally:
        server.host.run(["rm", "-f", "--", place], regardless=True)


def without_rows(server: Server, database: str, refused: Iterable[Refusal]) -> list[Refusal]:
    """Make foreign keys for later rows alone, so that the tables are known to have them; return what else is left.

    They point to rows that are not there, and go no further than this server.
    """
    left = []
    for each in refused:
        if each.kind != "FK CONSTRAINT" or not each.statement:
            left.append(each)
        else:
            server.complaints(database, f"{each.statement.rstrip().rstrip(';')} not valid;")
    return left
