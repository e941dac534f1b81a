"""A target that was just seen down is not asked again by each of forty systems: one asks, and the others are told.

Whoever finds a target down notes it in `STATE/down/TARGET`. Whoever comes next in the same command, or within a while
where nobody sits at the terminal (`dr run`, `dr daemon`), gets the same sentence at once. After that while one asks
again; the others wait for its answer. The note goes as soon as the target has answered.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from datetime import datetime, timedelta
from pathlib import Path

from dr.errors import TargetDownError
from dr.late_dataclass import dataclass

#: So many seconds a note counts where nobody sits at the terminal, and never longer than a quarter of the RPO.
OPEN_SECONDS = 300.0
_asking: dict[str, threading.Lock] = {}
_guard = threading.Lock()


@dataclass(frozen=True)
class Breaker:
    """The breaker of one target. Notes from before `believed_from` do not count; `clock` is the session's."""

    path: Path
    clock: Callable[[], datetime] = field(repr=False)
    believed_from: datetime

    def guard(self, ask: Callable[[], None]) -> None:
        """Ask whether the target answers, unless it was just seen down. Raises as `ask` does, or as it did then."""
        with _guard:
            one = _asking.setdefault(str(self.path), threading.Lock())
        with one:
            if (known := self._noted()) is not None:
                raise known
            try:
                ask()
            except TargetDownError as error:
                self.note(error)
                raise
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _noted(self) -> TargetDownError | None:
        try:
            body = json.loads(self.path.read_text("utf-8"))
            at = datetime.fromisoformat(body["at"])
            what, where, cause, hint = (str(body[key]) for key in ("what", "where", "cause", "hint"))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not self.believed_from <= at <= self.clock() + timedelta(seconds=1):
            return None  # too old, or from a clock that was wrong
        cause = "; ".join(filter(None, (cause, f"seen at {at:%H:%M:%S}Z, and not asked again since")))
        return TargetDownError(what, where, cause, hint)

    def note(self, error: TargetDownError) -> None:
        """Write it down. Where the state cannot be written each system asks for itself."""
        body = {"what": error.what, "where": error.where, "cause": error.cause, "hint": error.hint}
        beside = self.path.with_name(f".{self.path.name}.{threading.get_ident()}")
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.write_text(json.dumps({**body, "at": self.clock().isoformat()}), "utf-8")
            beside.replace(self.path)


def believed_from(now: datetime, *, begun: datetime, rpo: float, unattended: bool) -> datetime:
    """Return since when a note counts: since the command began; where nobody sits at it, for some minutes before."""
    if not unattended:
        return begun
    return min(begun, now - timedelta(seconds=min(OPEN_SECONDS, rpo / 4)))
