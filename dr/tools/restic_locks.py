"""The locks that restic keeps in a repository: who holds one, by its own word."""

from __future__ import annotations

import json

from dr.late_dataclass import dataclass
from dr.tools import command
from dr.tools.restic import Repository
from dr.tools.restic_events import Events, failure
from dr.tools.restic_tries import Tries


@dataclass(frozen=True)
class Lock:
    """Who holds a lock: the host's name, and the number of a process there."""

    host: str
    process: int


def holder(repository: Repository, name: str) -> Lock:
    """Return who holds a lock that is listed. Raises `DrError` when it cannot be read, or is gone."""
    argv = repository.argv("cat", "--no-lock", "lock", name)
    done = command.run(argv, env=repository.environment(), death="INT", heed=Tries(repository.where))
    if done.code != 0:
        events = Events()
        events.feed_all(done.stderr)
        raise failure(done.code, events, where=repository.where, doing="reading a lock")
    body = json.loads(done.stdout)
    return Lock(str(body.get("hostname", "")), int(body.get("pid", 0)))
