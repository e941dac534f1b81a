"""The source `postgres`: its doors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dr.plan.source import PostgresSource
from dr.sources.door import Doors, Instance, Room, Stream
from dr.sources.postgres import capture
from dr.sources.postgres.live import LiveServer
from dr.sources.postgres.restored import KIND
from dr.sources.postgres.scratch import ScratchServer
from dr.tools.host import Host


class Postgres(Doors):
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
        questions: Sequence[tuple[str | None, str]] = (),
    ) -> None:
        super().__init__(name)
        self._declared, self._host, self._questions = declared, host, tuple(questions)

    def capture(self, work: Path, reuse: Path | None) -> Stream:
        """See `Doors`."""
        return capture.begin(self.name, self._declared, self._host, self._questions, work)

    def instance(self, room: Room) -> Instance:
        """See `Doors`: on the live server when it is real, else on a scratch server here."""
        if room.real:
            return LiveServer(self.name, self._declared, room, host=self._host)
        return ScratchServer(self.name, self._declared, room)
