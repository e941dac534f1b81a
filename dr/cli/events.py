"""What is told while a command works: a line as a run starts and ends for a person, a file of events for programs."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO

from dr.plan.units import format_duration
from dr.report.envelope import activity_keys, event_document
from dr.tools.activity import Activity

#: Seconds between two lines that say how far one step of a run is.
_EVERY = 1.0


def in_words(told: Activity) -> str:
    """Return what a person is told of a run's start and end; "" for what lies between."""
    if told.event == "started":
        return f"{told.system}: {told.verb} started ({told.run_id})"
    if told.event == "ended":
        took = format_duration(told.seconds or 0.0)
        return f"{told.system}: {told.verb} ended after {took}: {told.outcome} ({told.run_id})"
    return ""


class Events:
    """A file of events: one JSON document a line, written as it happens.

    A reader that goes away, or a full disk, ends the file and not the work: that is told once.
    """

    def __init__(self, file: IO[str], broken: Callable[[str], None]) -> None:
        """Write to a file; `broken` is told once, and why, when that can no longer be done."""
        self._file, self._on_broken = file, broken
        self._guard = threading.Lock()
        self._last: dict[tuple[str, str, str], float] = {}
        self._broken = False

    def __call__(self, told: Activity) -> None:
        """Write one event of a run; of its progress one a second, and the last of each step."""
        if told.event == "progress" and not self._is_time(told):
            return
        self.write(told.event, **activity_keys(told))

    def write(self, event: str, **keys: object) -> None:
        """Write one event, now."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps(event_document(at, event, keys)) + "\n"
        with self._guard:
            if self._broken:
                return
            try:
                self._file.write(line)
                self._file.flush()
            except (OSError, ValueError) as error:
                self._broken = True
                why = getattr(error, "strerror", None) or "it is closed"
                self._on_broken(f"the events can no longer be written: {why}")

    def end(self, command: str, exit_code: int) -> None:
        """Say how the command ended, and close the file."""
        self.write("command_ended", command=command, exit_code=exit_code)
        with contextlib.suppress(OSError):
            self._file.close()

    def _is_time(self, told: Activity) -> bool:
        key = (told.run_id, told.source, told.target)
        now, last = time.monotonic(), self._last.get(key)
        if last is not None and now - last < _EVERY and not told.amount.is_whole:
            return False
        self._last[key] = now
        return True
