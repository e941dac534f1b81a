"""What a dump alone cannot bring back: checks that look at other tables, and functions that name things by a path.

A dump makes a table's checks before its rows: one that looks at another table refuses rows whose like is not there
yet. Such checks are set aside while rows come, and made again after them. Dumps are loaded with every name spelled
in full: what calls a function that does not spell them is tried again with the path of the database's users.
"""

# What goes into these texts is written here, or quoted by the server.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from dr.late_dataclass import dataclass
from dr.sources.postgres.connection import Server, identifier
from dr.sources.postgres.toc import Refusal

#: Checks, of tables and of domains, that call functions or operators of somebody's own; those that are inherited go
#: with their parents'. The statements that take one away and make it again, and its comment.
CALLING = """
select json_build_array(n.nspname, coalesce(c.relname, t.typname), k.conname,
  format('alter %s drop constraint %I', w.what, k.conname),
  format('alter %s add constraint %I %s', w.what, k.conname, pg_get_constraintdef(k.oid)),
  format('comment on constraint %I on %s is %L', k.conname, w.about, obj_description(k.oid, 'pg_constraint')))
from pg_catalog.pg_constraint k
left join pg_catalog.pg_class c on c.oid = k.conrelid left join pg_catalog.pg_type t on t.oid = k.contypid
join pg_catalog.pg_namespace n on n.oid = coalesce(c.relnamespace, t.typnamespace)
cross join lateral (select format('%I.%I', n.nspname, coalesce(c.relname, t.typname)) as named) q
cross join lateral (select case when c.oid is null then 'domain ' else 'table ' end || q.named as what,
  case when c.oid is null then 'domain ' else '' end || q.named as about) w
where k.contype = 'c' and k.coninhcount = 0 and exists (select from pg_catalog.pg_depend d
  where d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and d.objid = k.oid and d.refobjid >= 16384
    and d.refclassid in ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass))
order by k.oid
"""
#: Functions that are called while rows come, for generated columns and to find the partition of a row, and have no path
#: of their own. Of generated columns some versions put it down at the column, others at its expression.
COMPUTING = """
select json_build_array(format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)))
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.oid >= 16384 and p.prokind = 'f'
  and not exists (select from unnest(p.proconfig) c where c like 'search\\_path=%')
  and exists (select from pg_catalog.pg_depend d
    left join pg_catalog.pg_attrdef e on d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and e.oid = d.objid
    left join pg_catalog.pg_operator o
      on d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass and o.oid = d.refobjid
    where coalesce(o.oprcode, case when d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass then d.refobjid end)
      = p.oid
      and (exists (select from pg_catalog.pg_attribute a where a.attgenerated <> ''
          and a.attrelid = coalesce(e.adrelid, d.objid) and a.attnum = coalesce(e.adnum, d.objsubid)
          and (e.oid is not null or d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass))
        or d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
          and exists (select from pg_catalog.pg_partitioned_table t where t.partrelid = d.objid)))
order by p.oid
"""
_SCHEMAS = (
    "select to_json(nspname) from pg_catalog.pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'"
)
_ROUNDS = 5


@dataclass(frozen=True)
class Check:
    """A check that was set aside."""

    schema: str
    table: str
    name: str
    drop: str
    add: str
    comment: str


def set_aside(server: Server, database: str) -> list[Check]:
    """Take away the checks that might refuse rows while others are not there yet; return them, last first."""
    found: list[Check] = []
    while checks := [Check(*row) for row in server.rows(database, CALLING)]:
        server.execute(database, "".join(f"{each.drop};\n" for each in checks), doing="checks could not be set aside")
        found = [*reversed(checks), *found]  # those of children, which had their own, before their parents'
    return found


@contextmanager
def path_lent(server: Server, database: str, path: str) -> Iterator[None]:
    """Let functions that are called while rows come find what they name: by the path of the database's users first.

    `path` is that of its settings; nothing for the server's own.
    """
    called = [str(name) for (name,) in server.rows(database, COMPUTING)]
    if called:
        own = path if path.strip('" ') else '"$user", public'
        schemas = (identifier(str(name)) for name in server.rows(database, _SCHEMAS))
        whole = ", ".join([own, *schemas])
        server.complaints(database, "".join(f"alter function {name} set search_path = {whole};\n" for name in called))
    yield
    if called:
        given_back = "".join(f"alter function {name} reset search_path;\n" for name in called)
        server.execute(database, given_back, doing="functions could not be made as they were")


def complete(server: Server, database: str, aside: Sequence[Check], refused: Sequence[Refusal]) -> list[Refusal]:
    """Make the checks again that were set aside, and try again what was refused; return what still is.

    A check that the rows do not pass is made for later rows alone, and counts as refused.
    """
    made = [
        Refusal(kind="CHECK CONSTRAINT", schema=each.schema, tag=f"{each.table} {each.name}", statement=each.add)
        for each in aside
    ]
    left = _try_again(server, database, [*made, *(each for each in refused if each.statement)])
    comments = "".join(f"{each.comment};\n" for each in aside if not each.comment.endswith(" NULL"))
    for each in left:
        if each in made or each.statement in {check.add for check in aside}:
            server.complaints(database, f"{each.statement} not valid;")
    if comments:
        server.complaints(database, comments)
    return [*(each for each in refused if not each.statement), *left]


def _try_again(server: Server, database: str, refused: list[Refusal]) -> list[Refusal]:
    """Try statements in rounds while any of them helps another; by each path in turn."""
    schemas = [str(name) for name in server.rows(database, _SCHEMAS)] if refused else []
    for _ in range(_ROUNDS):
        left = [kept for each in refused if (kept := _by_some_path(server, database, each, schemas)) is not None]
        if len(left) == len(refused):
            return left
        refused = left
    return refused


def _by_some_path(server: Server, database: str, refusal: Refusal, schemas: Sequence[str]) -> Refusal | None:
    """Return None once a statement has passed; else the refusal, with what the server says of it now."""
    own = [refusal.schema] if refusal.schema in schemas else []
    paths = ["default", *(", ".join(map(identifier, each)) for each in ([*own, "public"], schemas) if each)]
    said = [refusal.cause]
    for path in dict.fromkeys(paths):
        complaints = server.complaints(database, f"set search_path = {path};\n{refusal.statement.rstrip(';')}\n;")
        if not complaints:
            return None
        said.append(complaints[0])
    return replace(refusal, cause=refusal.cause or said[1])


def rehearsal(statements: str) -> str:
    """Return a script that makes a dump's definitions and takes them back, and gives what is in the way of rows."""
    return f"begin;\n{statements}\nset search_path = '';\n{CALLING};\n{COMPUTING};\nrollback;\n"
