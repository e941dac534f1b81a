"""Recoveries that have begun and not ended: written down here, so that another directory does not hide them.

One that is killed while it puts databases into their places leaves the way back beside what it restored. Whoever then
recovers into another directory, or looks at the board, is told where it lies and what to type.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dr.errors import UsageError
from dr.late_dataclass import dataclass
from dr.tools.state_dir import StateDir

log = logging.getLogger("dr.recover")


@dataclass(frozen=True)
class Begun:
    """A recovery that is in the midst of replacing databases, at work or killed: into which directory, by which
    command.
    """

    to: Path
    typed: str

    @property
    def in_words(self) -> str:
        """What happened."""
        return f"the recovery into {self.to} has begun to put databases into their places, and has not ended"

    @property
    def todo(self) -> str:
        """What to do about it."""
        return f"when nobody is at work on it, run it again, which begins with the way back: `{self.typed}`"


@contextmanager
def written_down(state: StateDir, system: str, to: Path, typed: Sequence[str]) -> Iterator[None]:
    """Keep a record of a recovery while it is at work, and beyond that where it leaves a way back to be gone.

    Where the state cannot be written it goes on without: nothing is more urgent than a recovery.
    """
    path = state.recoveries / f"{system}.{hashlib.sha256(bytes(to)).hexdigest()[:16]}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(json.dumps({"to": str(to), "typed": shlex.join(typed)}), "utf-8")
    except OSError as error:
        log.warning("should this recovery be killed, remember that its way back lies in %s: %s: %s", to, state,
                    error.strerror)  # fmt: skip
    try:
        yield
    finally:
        if not _waits(to):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def amid(state: StateDir, system: str) -> list[Begun]:
    """Return the recoveries of a system that have a way back to be gone: killed, or at work at this moment."""
    found = []
    folder = state.recoveries
    for path in sorted(folder.glob(f"{system}.*")) if folder.is_dir() else ():
        try:
            body = json.loads(path.read_text("utf-8"))
            begun = Begun(Path(body["to"]), str(body["typed"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if _waits(begun.to):
            found.append(begun)
    return found


def refuse_other(state: StateDir, system: str, to: Path) -> None:
    """Raise `UsageError` when another recovery than that into `to` is amid its change of live databases."""
    for begun in amid(state, system):
        if begun.to != to:
            raise UsageError(f"nothing was touched: {begun.in_words}", system, hint=begun.todo)


def _waits(to: Path) -> bool:
    from dr.run.recovery.place.restore_host import (
        MANIFESTS,  # here: the board asks this only where a recovery is on record
    )
    from dr.sources.driver import WAY_BACK

    return any((to / MANIFESTS).glob(f"*/{WAY_BACK}"))
