"""The doors of the source `mysql`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dr.evidence.record import Omission
from dr.plan.source_kinds import MysqlSource
from dr.sources.driver import AgentCapture, RestoredSource, RestoreSlot, SourceDriver, Stream
from dr.sources.mysql.capture import Capture
from dr.sources.mysql.capture_plan import omissions
from dr.sources.mysql.connection import reach
from dr.sources.mysql.live import Live
from dr.sources.mysql.programs import suited
from dr.sources.mysql.scratch import Scratch
from dr.sources.own_errors import own_errors
from dr.sources.tables import Beside
from dr.tools.host import Host

if TYPE_CHECKING:
    from dr.tools.agent import Agent


class Mysql(SourceDriver):
    """Databases of one MariaDB or MySQL server. `questions` are a plan's queries, each with its database or None."""

    kind = "mysql"

    def __init__(
        self,
        name: str,
        declared: MysqlSource,
        *,
        host: Host,
        agent: Agent | None = None,
        questions: Sequence[tuple[str | None, str]] = (),
    ) -> None:
        super().__init__(name)
        self._declared, self._host, self._agent, self._questions = declared, host, agent, tuple(questions)

    def capture(self, work: Path, reuse: Path | None) -> Stream | AgentCapture:
        """See `SourceDriver`. The thread that calls must live on until the stream is closed."""
        with own_errors(self.name):
            server = suited(reach(self._declared, self._host, self.name), self._declared)
            if self._agent:
                from dr.sources.mysql.agent_capture import SentDump

                return SentDump(server, self._declared, work, questions=self._questions, agent=self._agent)
            return Capture(server, self._declared, work, self._questions)

    def omissions(self) -> Sequence[Omission]:
        """See `SourceDriver`."""
        with own_errors(self.name):
            server = reach(self._declared, self._host, self.name)
            return omissions(server, self._declared, self.name)

    def restored(self, room: RestoreSlot) -> RestoredSource:
        """See `SourceDriver`: in a drill on a server of its own, else on the plan's."""
        if room.real:
            return Live(self.name, self._declared, self._host, room)
        return Scratch(self.name, self._declared, self._host, room)

    def beside(self) -> Beside:
        """See `SourceDriver`."""
        from dr.sources.mysql.beside import MysqlBeside

        return MysqlBeside(self.name, self._declared, self._host)
