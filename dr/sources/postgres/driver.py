"""The source `postgres`: its doors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dr.evidence.record import Omission
from dr.plan.source_kinds import PostgresSource
from dr.sources.driver import AgentCapture, RestoredSource, RestoreSlot, SourceDriver, Stream
from dr.sources.postgres import capture
from dr.sources.postgres.connection import Login, Server
from dr.sources.postgres.live import LiveServer
from dr.sources.postgres.restored import KIND
from dr.sources.postgres.scratch import ScratchServer
from dr.sources.tables import Beside
from dr.tools.host import Host

if TYPE_CHECKING:
    from dr.tools.agent import Agent

#: To look at a server, not to copy it.
_LOOK_SECONDS = 120


class Postgres(SourceDriver):
    """Databases of one PostgreSQL server, on `host`.

    `questions` are the plan's queries whose values at capture are kept: database (None: the first) and query.
    """

    kind = KIND

    def __init__(
        self,
        name: str,
        declared: PostgresSource,
        *,
        host: Host,
        agent: Agent | None = None,
        questions: Sequence[tuple[str | None, str]] = (),
    ) -> None:
        super().__init__(name)
        self._declared, self._host, self._agent, self._questions = declared, host, agent, tuple(questions)

    def capture(self, work: Path, reuse: Path | None) -> Stream | AgentCapture:
        """See `SourceDriver`."""
        dumps = capture.begin(self.name, self._declared, self._host, self._questions, work)
        if self._agent is None:
            return dumps
        from dr.sources.postgres.agent_capture import SentDump

        return SentDump(dumps, self._agent)

    def omissions(self) -> Sequence[Omission]:
        """See `SourceDriver`."""
        server = Server(
            self.name, self._host, Login.declared(self._declared), deadline=time.monotonic() + _LOOK_SECONDS
        )
        return capture.look(server, self._declared).all_omissions

    def restored(self, room: RestoreSlot) -> RestoredSource:
        """See `SourceDriver`: on the live server when it is real, else on a scratch server here."""
        if room.real:
            return LiveServer(self.name, self._declared, room, host=self._host)
        return ScratchServer(self.name, self._declared, room)

    def beside(self) -> Beside:
        """See `SourceDriver`."""
        from dr.sources.postgres.beside import PostgresBeside

        return PostgresBeside(self.name, self._declared, self._host)
