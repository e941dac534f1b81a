"""The journal of one drill or recovery: its clock, its phases, its timeline.

The wall clock is read once, at the start; every later time is that plus a monotonic clock, so that a
corrected clock cannot bend a duration, and the times in the evidence add up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from datetime import datetime, timedelta
from typing import Literal

from dr.evidence.record import Event, Outcome
from dr.late_dataclass import dataclass
from dr.tools import activity, command

log = logging.getLogger("dr.drill")

Phase = Literal["declare", "provision", "restore", "start", "verify"]


@dataclass
class Timeline:
    """What happened, in order. `phases` holds seconds; a phase that was never reached is absent."""

    clock: Callable[[], datetime]
    phases: dict[str, float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the clocks."""
        self.started = self.clock()
        self._began = self._phase_began = time.monotonic()

    def now(self) -> datetime:
        """The time, as the monotonic clock counts it from the start."""
        return self.started + timedelta(seconds=time.monotonic() - self._began)

    def note(self, what: str, *, outcome: Outcome = "ok", timed: bool = False) -> None:
        """Write one line of the timeline, `timed` with the seconds since its phase began.

        What went on in spite of something is a warning too; of a failure whoever asked is told.
        """
        seconds = round(time.monotonic() - self._phase_began, 3) if timed else None
        self.events.append(Event(at=self.now(), what=what, seconds=seconds, outcome=outcome))
        log.log(logging.WARNING if outcome == "degraded" else logging.INFO, "%s", what)

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Time one phase; it counts also when it fails, and again when it is gone through once more.

        Raises when the program was asked to stop.
        """
        command.raise_if_stopping()
        self._phase_began = time.monotonic()
        try:
            with activity.step(name):
                yield
        finally:
            took = time.monotonic() - self._phase_began
            self.phases[name] = round(self.phases.get(name, 0.0) + took, 3)

    @property
    def clean(self) -> bool:
        """Whether every line so far is `ok`."""
        return all(event.outcome == "ok" for event in self.events)
