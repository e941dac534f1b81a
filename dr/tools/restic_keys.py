"""The keys of a restic repository: who may open it. Each wraps the one master key with another passphrase.

A passphrase reaches restic by its standard input or its environment, never by an argument. restic cannot take
away the key it was opened with, and takes one away only when nobody else uses the repository.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.tools import command, retry
from dr.tools.restic import Repository
from dr.tools.restic_events import Events, failure
from dr.tools.restic_tries import Tries
from dr.tools.store import ObjectStore, ids

_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Key:
    """One key as the repository lists it. `current`: the one that the passphrase given opens."""

    id: str
    user: str
    host: str
    created: datetime
    current: bool = False


def keys_of(repository: Repository) -> list[Key]:
    """Return the keys, oldest first; raises as any reading of the repository."""

    def once() -> list[Key]:
        done = _run(repository, "key", "list", "--no-lock", doing="listing the keys")
        return sorted((_key(item) for item in json.loads(done.stdout or b"[]")), key=lambda key: (key.created, key.id))

    return retry.persist(once, what=repository.where)


def _key(item: dict[str, object]) -> Key:
    # restic says a local time without its zone
    made = datetime.fromisoformat(str(item.get("created", ""))).astimezone()
    names = (str(item.get("userName", "")), str(item.get("hostName", "")))
    return Key(str(item["id"]), *names, made, current=bool(item.get("current")))


def add_key(repository: Repository, passphrase: str, *, user: str) -> str:
    """Add a key for a passphrase, and return its id. restic opens the repository with it before it says so.

    Not tried again by itself: a try whose answer was lost may have added one, which bears `user` as its mark.
    """
    label = ("--user", user, "--host", repository.host)
    argv = ("key", "add", *label, "--new-password-file", "/dev/stdin")
    done = _run(repository, *argv, stdin=passphrase.encode() + b"\n", doing="adding a key")
    if found := _ID.search(done.stdout.decode("utf-8", "replace")):
        return found[0]
    mine = [key.id for key in keys_of(repository) if key.user == user]
    if not mine:
        raise DrError("restic added no key", repository.where, hint="run again with -v to see all that restic says")
    return mine[-1]


def remove_key(repository: Repository, key_id: str) -> None:
    """Take a key away; `LockedError` while somebody uses the repository, `RefusedError` where it may not be."""
    _run(repository, "key", "remove", key_id, doing="removing a key")


def key_names(store: ObjectStore) -> set[str]:
    """Return the ids of the keys there are, by one listing of the store: no passphrase is needed."""
    return ids(store, "keys/")


def with_passphrase(repository: Repository, passphrase: str, *, key_id: str = "") -> Repository:
    """Return the repository as it is opened with another passphrase, and with the key of that id first."""
    other = {k: v for k, v in repository.env.items() if not k.startswith(("RESTIC_PASSWORD", "RESTIC_KEY_HINT"))}
    hint = {"RESTIC_KEY_HINT": key_id} if key_id else {}
    return replace(repository, env={**other, **hint, "RESTIC_PASSWORD": passphrase})


def opened_by(repository: Repository) -> str:
    """Return the id of the key that opens the repository; `RefusedError` when the passphrase opens none."""
    return next(key.id for key in keys_of(repository) if key.current)


def repository_id(repository: Repository) -> str:
    """Return the id of the repository, which also names its cache."""
    done = _run(repository, "cat", "config", "--no-lock", doing="reading the repository's configuration")
    return str(json.loads(done.stdout)["id"])


def describe(keys: Iterable[Key]) -> str:
    """Return keys in words: `12ab34cd (dr-escrow)`."""
    return ", ".join(f"{key.id[:8]} ({key.user})" for key in keys)


def _run(repository: Repository, *arguments: str, doing: str, stdin: bytes | None = None) -> command.Done:
    own, heed = repository.environment(), Tries(repository.where)
    done = command.run(repository.argv(*arguments), env=own, stdin=stdin, death="INT", heed=heed)
    if done.code != 0:
        events = Events()
        events.feed_all(done.stderr)
        raise failure(done.code, events, where=repository.where, doing=doing)
    return done
