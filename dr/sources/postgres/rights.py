"""What an account may read of a server, held against a stated list before anything is captured.

`pg_dump` ends at the first table it may not read, and passes over other things without a word. What cannot be read
is left out on purpose and named, with the statement that lets it be read; the rest is captured.
"""

# What goes into these texts is written here; nothing comes from outside.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dr.errors import SourceError
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.sources.postgres import queries
from dr.sources.postgres.connection import Server, Session, identifier, literal
from dr.sources.unseen import unseen

#: With more tables than this out of reach the account is the wrong one: a command line names each of them.
MOST = 500
#: So many objects stand in one sentence.
_SHOWN = 3

_ACCOUNT = """
select jsonb_build_object('user', current_user, 'superuser', r.rolsuper, 'standby', pg_is_in_recovery(),
  'major', current_setting('server_version_num')::int / 10000,
  'digests', has_table_privilege('pg_catalog.pg_authid', 'select'),
  'mappings', has_table_privilege('pg_catalog.pg_user_mapping', 'select'))
from pg_roles r where r.rolname = current_user
"""

#: What pg_dump reads rows of: tables and sequences of somebody's own, and what an extension declares as its user's.
_OWN = """n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relpersistence <> 't'
  and (not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid
    and e.deptype = 'e') or exists (select from pg_extension x where c.oid = any(x.extconfig)))"""
_NAME = "quote_ident(n.nspname) || '.' || quote_ident(c.relname)"

_UNREADABLE = f"""
select json_build_array({_NAME}, (select json_agg(quote_ident(n.nspname) || '.' || quote_ident(i.relname))
  from pg_index x join pg_class i on i.oid = x.indexrelid where x.indrelid = c.oid))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'S') and {_OWN} and not (has_schema_privilege(n.oid, 'usage') and
  case c.relkind when 'S' then has_sequence_privilege(c.oid, 'select') else has_table_privilege(c.oid, 'select') end)
order by n.nspname collate "C", c.relname collate "C"
"""
_HIDDEN = f"""
select to_json({_NAME}) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and {_OWN} and has_schema_privilege(n.oid, 'usage')
  and has_table_privilege(c.oid, 'select') and row_security_active(c.oid)
order by n.nspname collate "C", c.relname collate "C"
"""
_LARGE = """
select to_json(l.oid::text) from pg_largeobject_metadata l
where current_setting('lo_compat_privileges') = 'off' and not pg_has_role(l.lomowner, 'usage') and not exists (
  select from aclexplode(l.lomacl) a where a.privilege_type = 'SELECT'
    and case a.grantee when 0 then true else pg_has_role(a.grantee, 'usage') end)
order by l.oid limit 1000
"""
_MAPPINGS = """
select to_json(quote_ident(m.srvname) || ' for ' || quote_ident(m.usename)) from pg_user_mappings m
where m.umoptions is null {but} order by m.srvname collate "C", m.usename collate "C"
"""
_WITH_OPTIONS = "and exists (select from pg_user_mapping u where u.oid = m.umid and u.umoptions is not null)"
_SUBSCRIPTIONS = """
select to_json(quote_ident(s.subname)) from pg_subscription s
where s.subdbid = (select oid from pg_database where datname = current_database()) order by s.subname collate "C"
"""
_INVALID = f"""
select to_json({_NAME}) from pg_index i join pg_class c on c.oid = i.indexrelid
join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'i' and not i.indisvalid and {_OWN}
order by n.nspname collate "C", c.relname collate "C"
"""
_FLEETING = f"""
select to_json({_NAME}) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'u' and {_OWN} order by n.nspname collate "C", c.relname collate "C"
"""
_WITH_PASSWORDS = """
select to_json(quote_ident(rolname)) from pg_roles where rolcanlogin and rolname !~ '^pg_' order by rolname collate "C"
"""
#: Databases that nobody can be let into, and why: a DROP DATABASE that was broken off leaves one behind.
_CLOSED = """
select json_build_array(datname, datconnlimit = -2) from pg_database
where (not datallowconn or datconnlimit = -2) and datname <> 'template0' order by datname collate "C"
"""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is left out of one database's dump and counts, by quoted names, since it cannot be read; and that in words.

    `tables` are not taken at all, nor are their `indexes`; `rows` are tables whose definition alone is taken.
    """

    tables: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    large_objects: bool = True
    omissions: tuple[Omission, ...] = ()

    @property
    def uncounted(self) -> frozenset[str]:
        """The tables whose rows are not counted."""
        return frozenset({*self.tables, *self.rows, *(() if self.large_objects else ("pg_largeobject",))})

    def options(self) -> tuple[str, ...]:
        """Return what pg_dump is told."""
        found = [f"--exclude-table={name}" for name in self.tables]
        found += [f"--exclude-table-data={name}" for name in self.rows]
        return (*found, *(() if self.large_objects else ("--no-blobs",)))


def look(server: Server, database: str) -> Sight:
    """Return what the account cannot read of a database. Raises `SourceError` when the account is of no use."""
    with Session(server, database) as session:
        account = session.rows(_ACCOUNT)[0]
        odd = [*_not_in_a_dump(session, database, account)]
        if account["superuser"]:
            return Sight(omissions=tuple(odd))
        unreadable, hidden, large = (session.rows(query) for query in (_UNREADABLE, _HIDDEN, _LARGE))
        odd += _secrets(session, database, account)
    tables = tuple(name for name, _ in unreadable)
    if len(tables) > MOST:
        raise SourceError(
            f"the account {account['user']} may not read {len(tables):,} tables of {database}", server.name,
            hint=f"as a superuser: {_grant(account, database)}",
        )  # fmt: skip
    return Sight(
        tables=tables,
        indexes=tuple(index for _, indexes in unreadable for index in indexes or ()),
        rows=tuple(hidden),
        large_objects=not large,
        omissions=(*_unread(account, database, tables, hidden=hidden, large=large), *odd),
    )


def of_server(server: Server, place: str, *, everything: bool) -> Iterator[Omission]:
    """Yield what no database holds and cannot be read; where everything is asked for, the databases that let nobody in
    too.
    """
    account = server.rows(place, _ACCOUNT)[0]
    if not account["digests"] and (names := server.rows(place, _WITH_PASSWORDS)):
        yield unseen(
            f"the account {account['user']} may not read passwords: roles are stored without theirs",
            f"as a superuser: GRANT SELECT ON pg_catalog.pg_authid TO {identifier(account['user'])};",
            names=tuple(f"role {name}" for name in names), everything=everything,
        )  # fmt: skip
    for name, invalid in server.rows(place, _CLOSED) if everything else ():
        yield _closed(name, invalid=invalid)


def of_shared(server: Server, place: str, databases: Sequence[str], *, everything: bool) -> Iterator[Omission]:
    """Yield what belongs to the whole server and no dump holds: labels, and what new databases are made with."""
    names = f"array[{', '.join(map(literal, databases))}]::name[]"
    for what, statement in server.rows(place, queries.SHARED_LABELS.format(names=names)):
        yield Omission(
            what=f"the security label of the {what} is not in the point",
            hint=f"after a recovery, as a superuser: {statement}", names=(f"security label of {what}",), partial=False,
        )  # fmt: skip
    if everything and _template_in_use(server):
        yield Omission(
            what="objects in template1, which new databases are made with, are not in the point",
            hint="keep them with a source of their own: "
            "`command: {run: [pg_dump, template1], filename: template1.sql}`; or drop them there",
            names=("database template1",), partial=False,
        )  # fmt: skip


def _template_in_use(server: Server) -> bool:
    try:
        return bool(server.rows("template1", queries.IN_USE)[0])
    except SourceError as error:
        if error.retryable:
            raise
        return False  # it lets nobody in, as its own omission says


def refused(database: str, user: str | None, error: SourceError) -> Omission:
    """Return that an account is not let into a database."""
    whom = identifier(user) if user else "its account"
    return Omission(
        what=f"the database {database} cannot be read: {error.cause}",
        hint=f"as a superuser: GRANT CONNECT ON DATABASE {identifier(database)} TO {whom};",
        names=(f"database {database}",),
    )


def _closed(name: str, *, invalid: bool) -> Omission:
    if invalid:
        return Omission(
            what=f"the database {name} is not valid: a DROP DATABASE was broken off",
            hint=f"as a superuser: DROP DATABASE {identifier(name)};", names=(f"database {name}",), partial=False,
        )  # fmt: skip
    return Omission(
        what=f"the database {name} lets nobody connect: it is not in the point",
        hint=f"ALTER DATABASE {identifier(name)} ALLOW_CONNECTIONS true; or name in `databases` those that you want",
        names=(f"database {name}",),
    )


def _not_in_a_dump(session: Session, database: str, account: dict[str, Any]) -> Iterator[Omission]:
    for name in session.rows(_INVALID):
        yield Omission(
            what=f"the index {name} of {database} is not valid at the source: a dump does not hold it",
            hint=f"REINDEX INDEX CONCURRENTLY {name}; or DROP INDEX {name};",
            names=_in(database, [name]), partial=False,
        )  # fmt: skip
    if account["standby"] and (names := session.rows(_FLEETING)):
        yield Omission(
            what=f"a standby has no rows of unlogged tables: {_several(names)} of {database} are stored empty",
            hint="name the primary as the source", names=_in(database, names), partial=False,
        )  # fmt: skip


def _secrets(session: Session, database: str, account: dict[str, Any]) -> Iterator[Omission]:
    """What only a superuser is shown."""
    whom = identifier(account["user"])
    mappings = session.rows(_MAPPINGS.format(but=_WITH_OPTIONS if account["mappings"] else ""))
    for what, names in (
        ("the options (passwords) of the user mappings", mappings),
        ("the subscriptions", session.rows(_SUBSCRIPTIONS)),
    ):
        if names:
            yield Omission(
                what=f"only a superuser is shown {what} {_several(names)} of {database}: they are not in the point",
                hint=f"let a superuser make the copy: ALTER ROLE {whom} SUPERUSER;", names=_in(database, names),
            )  # fmt: skip


def _unread(
    account: dict[str, Any], database: str, tables: Sequence[str], *, hidden: Sequence[str], large: Sequence[str]
) -> Iterator[Omission]:
    user, whom = account["user"], identifier(account["user"])
    if tables:
        yield Omission(
            what=f"the account {user} may not read {_several(tables)} of {database}: not in the point",
            hint=f"as a superuser: {_grant(account, database)}", names=_in(database, tables),
        )  # fmt: skip
    if hidden:
        yield Omission(
            what=f"row-level security hides rows of {_several(hidden)} of {database} from the account {user}: "
            "no row of theirs is in the point",
            hint=f"as a superuser: ALTER ROLE {whom} BYPASSRLS;", names=_in(database, hidden),
        )  # fmt: skip
    if large:
        objects = ", ".join(large[:_SHOWN]) + (", …" if len(large) > _SHOWN else "")
        yield Omission(
            what=f"the account {user} may not read {len(large):,} large objects of {database}: none is in the point",
            hint=f"as a superuser: GRANT SELECT ON LARGE OBJECT {objects} TO {whom};",
            names=tuple(f"{database}.large object {oid}" for oid in large),
        )


def _grant(account: dict[str, Any], database: str) -> str:
    whom = identifier(account["user"])
    if account["major"] >= 14:
        return f"GRANT pg_read_all_data TO {whom};"
    tables = f"GRANT SELECT ON ALL TABLES IN SCHEMA … TO {whom};"
    return f"in {database}, for each schema: GRANT USAGE ON SCHEMA … TO {whom}; {tables}"


def _in(database: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{database}.{name}" for name in names)


def _several(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
