"""Where a recovery point is restored to: a sandbox, or the real place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from dr.evidence.record import Point
from dr.run.recovery.place.restore_host import RestoreHost
from dr.run.recovery.place.sandbox import Disposition


class RestoreSite(Protocol):
    """Where a point is restored to."""

    @property
    def where(self) -> str:
        """That in words."""

    @property
    def land(self) -> RestoreHost:
        """The host it lies on."""

    def prepare(self, point: Point, size: int) -> Path:
        """Make the place for `size` bytes and return it; `DrError` when that cannot be."""

    @property
    def servers(self) -> Path:
        """Where `annex` makes directories, on the host of the `land`."""

    def annex(self, kind: str) -> Path:
        """Make a directory with a short path that goes away with the place: see `dr.run.recovery.place.server_dirs`."""

    def empty(self, names: Sequence[str], *, same: bool) -> bool:
        """Take away what was restored of these sources, for another copy, of the `same` point or not.

        False when that may not be; `prepare` is called again after it.
        """

    def finish(self, *, achieved: bool) -> Disposition:
        """Put the place away, or leave it; say which. Safe when it was never prepared."""
