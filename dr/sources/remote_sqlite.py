"""The source `sqlite` on another host: copied there by its `sqlite3` program, and streamed here."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from dr.plan.source_kinds import SqliteSource
from dr.sources.driver import RestoredSource, RestoreSlot, SourceDriver, Stream
from dr.sources.output import output_of
from dr.sources.sqlite import restored_database
from dr.sources.tables import Beside
from dr.tools.host import Host

#: The copy is made whole first, beside nothing of value, and goes away however the program ends.
_COPY = """
umask 077
test -f "$1" || { echo "the database $1 is not there" >&2; exit 1; }
command -v sqlite3 >/dev/null || { echo "the program sqlite3 is not on that host" >&2; exit 1; }
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
trap 'exit 1' HUP INT TERM PIPE
sqlite3 -readonly "$1" ".timeout 60000" ".backup '$place/copy'" >&2 && test -s "$place/copy" && cat "$place/copy"
"""
TIMEOUT_SECONDS = 6 * 3600.0


def copying(path: str) -> tuple[list[str], str]:
    """Return the command that writes a whole copy of a database there to its output, and the copy's name."""
    return ["sh", "-c", _COPY, "copy", path], PurePosixPath(path).name


class RemoteSqlite(SourceDriver):
    """One SQLite file on another host, which needs its own `sqlite3` program and nothing of ours."""

    kind = "sqlite"

    def __init__(self, name: str, declared: SqliteSource, *, host: Host) -> None:
        super().__init__(name)
        self._declared, self._host = declared, host
        self._argv, self._filename = copying(declared.path)

    def capture(self, work: Path, reuse: Path | None) -> Stream:
        """See `SourceDriver`."""
        return output_of(self.name, self._host, self._argv, self._filename, timeout=TIMEOUT_SECONDS)

    def restored(self, room: RestoreSlot) -> RestoredSource:
        """See `SourceDriver`."""
        return restored_database(self.name, self._filename, self._declared, room)

    def beside(self) -> Beside:
        """See `SourceDriver`."""
        from dr.sources.sqlite_tables import SqliteBeside

        return SqliteBeside(self.name, self._declared.path, self._host)
