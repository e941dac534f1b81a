"""A database's dump, stored by restic on the database's own host (`mode: agent`).

What it held is asked first, in the snapshot that pg_dump then reads in: the dump does not pass here, and what it
cannot be held against must not be stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from dr.evidence import manifest
from dr.sources import database_inventory as facts
from dr.sources.driver import MANIFEST, AgentCapture, Sent
from dr.sources.own_errors import blame
from dr.sources.postgres import inventory
from dr.sources.postgres.capture import Dumps, snapshot_of
from dr.sources.postgres.connection import Session
from dr.sources.postgres.names import GLOBALS
from dr.sources.postgres.restored import KIND
from dr.tools.agent import Agent
from dr.tools.restic import Repository


class SentDump(AgentCapture):
    """The dump of one database."""

    sidecars = (facts.FILENAME, GLOBALS)

    def __init__(self, dumps: Dumps, agent: Agent) -> None:
        self.host = agent.host.name
        self._dumps, self._agent = dumps, agent

    def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
        """See `AgentCapture`."""
        dumps, server, started = self._dumps, self._dumps.server, datetime.now(UTC)
        (database,) = dumps.databases
        dumps.write_globals()
        with Session(server, database) as session:
            snapshot = snapshot_of(session, server.name)
            held = inventory.take(session, database, dumps.sights[database])
            held.answers = dumps.answers(database, snapshot)
            argv = (server.program("pg_dump"), *dumps.options(database, snapshot))
            with blame(server.name):
                done = self._agent.backup_command(
                    repository, argv, filename=dumps.filename, tags=tags, timeout=server.left(), env=server.environment
                )
        dumps.write_facts([held])
        manifest.write_stream(
            dumps.work / MANIFEST, source=server.name, kind=KIND, started=started, filename=dumps.filename,
            size=done.bytes, sha256=done.sha256,
        )  # fmt: skip
        return Sent(stored=done.stored, files=1, bytes=done.bytes, omissions=dumps.omissions)
