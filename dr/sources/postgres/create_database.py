"""A database made as it was captured: encoding, collation, owner; and afterwards its settings and rights."""

from __future__ import annotations

from typing import Any

from dr.sources.database_inventory import DatabaseInventory
from dr.sources.postgres import queries
from dr.sources.postgres.connection import Server, identifier, literal

#: Sorts by code point and is there nearly everywhere.
_PLAIN = "C.UTF-8"


def offered(server: Server, place: str) -> frozenset[str]:
    """Return what a server has of all that a database could need."""
    return frozenset(_spelled(each) for each in server.rows(place, queries.OFFERED))


def missing(captured: DatabaseInventory | None, there: frozenset[str]) -> list[str]:
    """Return what captured databases need and a server does not have, as the facts name it."""
    needs = captured.needs if captured else ()
    return [need for need in needs if _spelled(need) not in there and not _always(need)]


def in_words(need: str) -> str:
    """Return a missing need in plain words."""
    kind, _, name = need.partition(" ")
    return {
        "extension": f"the extension {name} is not installed here",
        "role": f"the role {name} is not there",
        "collation": f"the collation {name} is not known here",
        "locale": f"the locale {name} is not installed here, so that texts sort otherwise",
        "provider": f"this server is built without {name.upper()}, so that texts sort otherwise",
    }.get(kind, f"{need} is missing")


def make(server: Server, place: str, database: str, properties: dict[str, Any], lacks: list[str]) -> None:
    """Make an empty database, with a plain collation where the captured one is not to be had. `SourceError`."""
    parts = [f"create database {identifier(database)} template template0"]
    if properties:
        parts += [f"encoding {literal(properties['encoding'])}", *_collation(server, place, properties, lacks)]
        parts += [f"connection limit {int(properties['limit'])}"]
    server.execute(place, " ".join(parts) + ";", doing=f"the database {database} could not be made")


def finish(server: Server, place: str, database: str, properties: dict[str, Any], lacks: list[str]) -> list[str]:
    """Give a restored database its own settings, rights and owner; return what the server refused."""
    if not properties:
        return []
    statements = [*_settings(database, properties), *_rights(database, properties)]
    if f"role {properties['owner']}" not in lacks:  # last: whoever is not a member of it may do nothing afterwards
        statements.append(f"alter database {identifier(database)} owner to {identifier(properties['owner'])};")
    return server.complaints(place, "\n".join(statements))


def template(database: str, properties: dict[str, Any]) -> str:
    """Return the statement that makes a database a template, where it was one."""
    return f"alter database {identifier(database)} is_template true;" if properties.get("template") else ""


def path_of(properties: dict[str, Any]) -> str:
    """Return the search path that a database has by its settings; nothing where they name none."""
    settings = properties.get("settings") or ()
    return next((str(value) for role, key, value in settings if not role and key == "search_path"), "")


def comment(database: str, text: str | None) -> str:
    """Return the statement that says something about a database."""
    return f"comment on database {identifier(database)} is {literal(text) if text else 'null'};"


def _collation(server: Server, place: str, properties: dict[str, Any], lacks: list[str]) -> list[str]:
    wanted = {f"locale {properties['collate']}", f"locale {properties['ctype']}", _provider(properties)}
    if wanted & set(lacks):
        plain = _plain(server, place) if properties["encoding"] == "UTF8" else "C"
        return [f"lc_collate {literal(plain)} lc_ctype {literal(plain)}"]
    parts = [f"lc_collate {literal(properties['collate'])} lc_ctype {literal(properties['ctype'])}"]
    if properties["provider"] == "i":
        parts += [f"locale_provider icu icu_locale {literal(properties['locale'])}"]
        parts += [f"icu_rules {literal(properties['rules'])}"] if properties["rules"] else []
    elif properties["provider"] == "b":
        parts += [f"locale_provider builtin builtin_locale {literal(properties['locale'])}"]
    return parts


def _provider(properties: dict[str, Any]) -> str:
    return "provider icu" if properties["provider"] == "i" else ""


def _plain(server: Server, place: str) -> str:
    there = offered(server, place)
    return _PLAIN if _spelled(f"locale {_PLAIN}") in there else "C"


def _settings(database: str, properties: dict[str, Any]) -> list[str]:
    """A list is a list only to the server, so that a value is set first and then taken from there."""
    statements = []
    for role, key, value in properties["settings"] or ():
        whom = f"role {identifier(role)} in database" if role else "database"
        statements += [
            "begin;",
            f"do $do$ begin perform set_config({literal(key)}, {literal(value)}, true); end $do$;",
            f"alter {whom} {identifier(database)} set {_key(key)} from current;",
            "commit;",
        ]
    return statements


def _rights(database: str, properties: dict[str, Any]) -> list[str]:
    if properties["grants"] is None:
        return []
    name = identifier(database)
    statements = [f"revoke all on database {name} from public;"]
    for grant in properties["grants"]:
        whom = identifier(grant["role"]) if grant["role"] else "public"
        pass_on = " with grant option" if grant["passes_on"] else ""
        statements.append(f"grant {grant['right']} on database {name} to {whom}{pass_on};")
    return statements


def _key(key: str) -> str:
    """Return a setting's name, which has a dot when it is an extension's."""
    return ".".join(identifier(part) for part in key.split("."))


def _spelled(need: str) -> str:
    """Return a need so that en_US.UTF-8 is en_US.utf8."""
    kind, _, name = need.partition(" ")
    return f"{kind} {name.lower().replace('-', '')}" if kind == "locale" else need


def _always(need: str) -> bool:
    return need in ("locale C", "locale POSIX")
