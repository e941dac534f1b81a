"""What was recorded of databases at capture, to hold the restored ones against: rows, objects, needs, answers.

Stored beside the manifest as `dr-facts.json`. Taken by queries, in the same snapshot as the dump: so it is
independent of the program that dumped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from dr.late_dataclass import dataclass

FILENAME = "dr-facts.json"
SCHEMA = 1
#: What is kept in `DatabaseInventory.lacking` of a point without accounts, or without their passwords.
ACCOUNTS = "accounts"
PASSWORDS = "passwords"


@dataclass(frozen=True, kw_only=True)
class DatabaseInventory:
    """`rows`: "DATABASE.SCHEMA.TABLE" to its rows. `objects`: "KIND NAME" to its definition, or a digest of it.

    `needs`: what the server must have before, such as "extension postgis" or "role teacher". `answers`: by
    `key_of(database, query)`, what a plan's query gave (as text; None for no value). `lacking`: what the source itself
    lacked or had broken, in words: no restore is held to it. `spelling`: in which way definitions were told apart.
    `zones`: of a database, the time zone in which it takes times that have none. `sizes`: the bytes that a database and
    its indexes took on the disk of its server: a restored one may well take less, and so no restore is held to them.
    """

    server: str = ""
    databases: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    answers: Mapping[str, str | None] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    spelling: int = 0
    zones: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict, compare=False)


def key_of(database: str | None, query: str) -> str:
    """Return the key under which a query's answer is kept."""
    return f"{database or ''}\n{query}"


def digest_of(definition: str) -> str:
    """Return a short digest of a definition: enough to tell two apart."""
    return hashlib.sha256(definition.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def write(path: Path, found: DatabaseInventory) -> None:
    """Write facts."""
    path.write_text(json.dumps({"schema": SCHEMA, **asdict(found)}, ensure_ascii=True), "ascii")


def read(path: Path) -> DatabaseInventory | None:
    """Return facts; None when there are none, or none that can be understood."""
    try:
        body: dict[str, Any] = json.loads(path.read_text("ascii"))
        if body.pop("schema") != SCHEMA:
            return None
        lists = {key: tuple(body.get(key, ())) for key in ("databases", "needs", "lacking")}
        return DatabaseInventory(**{**body, **lists})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
