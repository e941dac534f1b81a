"""A kind of source in one file: `journal`, a log that grows while it is read. docs/extending.md walks through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field

from dr.errors import SourceError
from dr.plan.source_kinds import AbsolutePath, SourceBody
from dr.sources.driver import RestoredSource, RestoreSlot, SourceDriver, Stream
from dr.sources.kinds import Ask
from dr.tools.host import Host

FILENAME = "journal.log"


# begin declaration
class JournalSource(SourceBody):
    """A log of lines, each with its time first. A line that is written at this moment is left for the next point."""

    kind = "journal"
    holds = "A log of lines, each with its time first."
    example: ClassVar[Mapping[str, Any]] = {"path": "/var/lib/gate/journal.log"}
    answers_queries = True

    path: Annotated[
        AbsolutePath,
        Field(description="The log, with its absolute path.", examples=["/var/lib/gate/journal.log"]),
    ]
    newest: Annotated[
        str | None,
        Field(
            description="`last` tells the time of the newest line, for a drill to measure what a loss would have cost. "
            "Default: not measured.",
            examples=["last"],
        ),
    ] = None

    @property
    def local_paths(self) -> tuple[str, ...]:
        return (self.path,)


# end declaration


# begin driver
class Journal(SourceDriver):
    """Reads the log up to its last whole line."""

    kind = "journal"

    def __init__(self, name: str, declared: JournalSource, *, host: Host) -> None:
        super().__init__(name)
        if not host.here:
            raise SourceError("a log is read on this host alone", name, hint="remove `host` from the source")
        self._declared = declared

    def capture(self, work: Path, reuse: Path | None) -> Stream:
        return _Lines(self.name, Path(self._declared.path))

    def restored(self, room: RestoreSlot) -> RestoredSource:
        return RestoredJournal(self.name, self.kind, room, self._declared)


class _Lines(Stream):
    """The log while it is read."""

    filename = FILENAME

    def __init__(self, name: str, path: Path) -> None:
        self.started = datetime.now(UTC)
        try:
            self._file = path.open("rb")
        except OSError as error:
            hint = "correct its path in the plan"
            raise SourceError("the log cannot be read", name, str(error.strerror), hint=hint) from error

    def chunks(self) -> Iterator[bytes]:
        yield from (line for line in self._file if line.endswith(b"\n"))

    def close(self) -> None:
        self._file.close()


# end driver


# begin restored
class RestoredJournal(RestoredSource):
    """The log as it came back: every line begins with a time, and it can be asked how many there are."""

    def __init__(self, name: str, kind: str, room: RestoreSlot, declared: JournalSource) -> None:
        super().__init__(name, kind, room)
        self._declared, self._times = declared, list[datetime]()

    def start(self) -> None:
        lines = (self.room.root / FILENAME).read_text("utf-8").splitlines()
        try:
            self._times = [datetime.fromisoformat(line.split(" ")[0]) for line in lines]
        except ValueError as error:
            raise SourceError("a line has no time", self.name, str(error), hint="use another point") from error

    def probe(self, query: str, database: str | None = None) -> object:
        answers = {"count": len(self._times), "last": str(max(self._times, default=""))}
        if query not in answers:
            raise SourceError("no such question", self.name, query, hint="ask `count` or `last`")
        return answers[query]

    def newest(self) -> datetime | None:
        query = self._declared.newest
        return self.read_newest(self.probe(query), None) if query else None


# end restored


# begin registration
def open_journal(ask: Ask) -> SourceDriver:
    """Return the driver of a log."""
    return Journal(ask.name, cast("JournalSource", ask.body), host=ask.host)


# end registration
