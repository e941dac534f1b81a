"""A dump, stored by restic on the server's own host (`mode: agent`).

It does not pass here, so nobody can see it begin and let it share a snapshot with the session that counts: facts
are kept only where they were equal before and after. Once it is stored, no look that fails can undo it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import SourceError
from dr.evidence import manifest
from dr.plan.source import MysqlSource
from dr.sources import database_inventory as facts
from dr.sources.agent import blame
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.driver import MANIFEST, AgentCapture, Sent
from dr.sources.mysql.capture_plan import Questions, Subject
from dr.sources.mysql.connection import Server
from dr.sources.mysql.session import Session
from dr.sources.mysql.split_dump import SEVERAL_WHOLE, file_of
from dr.tools.agent import Agent
from dr.tools.restic import Repository

log = logging.getLogger("dr.mysql")


class SentDump(AgentCapture):
    """The dump of one database, or of several, as the dump program writes it."""

    def __init__(
        self, server: Server, declared: MysqlSource, work: Path, *, questions: Questions, agent: Agent
    ) -> None:
        self.host = agent.host.name
        self._server, self._declared, self._work = server, declared, work
        self._questions, self._agent = questions, agent
        one = declared.database
        self._filename = file_of(one, whole=True) if one else SEVERAL_WHOLE

    def send(self, repository: Repository, tags: Mapping[str, str]) -> Sent:
        """See `AgentCapture`."""
        started, server = datetime.now(UTC), self._server
        with closing(Session(server, timeout=self._declared.timeout)) as session:
            subject = Subject(session, server, self._declared, self._work)
            self.sidecars = subject.sidecars
            subject.look(self._questions)
            with blame(server.where):
                done = self._agent.backup_command(
                    repository, subject.argv(force=False), filename=self._filename, tags=tags,
                    timeout=self._declared.timeout, env=server.env,
                )  # fmt: skip
            facts.write(self._work / facts.FILENAME, self._held(subject))
        manifest.write_stream(
            self._work / MANIFEST, source=server.where, kind="mysql", started=started, filename=self._filename,
            size=done.bytes, sha256=done.sha256,
        )  # fmt: skip
        return Sent(stored=done.stored, files=1, bytes=done.bytes, omissions=tuple(subject.omissions))

    def _held(self, subject: Subject) -> DatabaseInventory:
        try:
            return subject.held(self._questions, same=False)
        except SourceError as error:
            log.warning("%s: rows and objects are not recorded: %s", self._server.where, error)
            return subject.unsure()
