"""The target kind `local`: a directory of this host, or a disk that is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dr.errors import AbsentError
from dr.evidence.posture import Finding
from dr.targets.driver import ByHand, Opened, TargetDriver, access
from dr.tools.disk import DiskStore
from dr.tools.erase import DiskEraser, Eraser, StoreEraser
from dr.tools.store import ObjectStore

if TYPE_CHECKING:
    from dr.plan.target_plain import LocalPlace


class LocalDriver(TargetDriver):
    """A directory."""

    @property
    def _path(self) -> Path:
        return cast("LocalPlace", self.target.declared).path

    @property
    def _disk(self) -> DiskStore:
        return DiskStore(self._path, label=self.name if self.target.offline else "")

    def open(self, *, seen: bool = False) -> Opened:
        """See `TargetDriver`."""
        return Opened(store=self._disk, location=str(self._path))

    def look(self, now: datetime, below: str) -> Iterator[Finding]:
        """See `TargetDriver`."""
        try:
            posture = self._disk.preflight()
        except AbsentError:
            yield Finding(what="locks", severity="ok", observed="its disk is taken away: nobody here can reach it now")
            return
        hint = f"let nobody but its owner in: chmod 700 {self._path}, as it is a directory open to all"
        yield access(posture, others="other users of this host may look in", closed="its owner only", hint=hint)
        hint = "keep another copy in a bucket with Object Lock, or on a disk that is taken offline"
        if self.target.offline:
            hint = "take the disk away once `dr replicate` has ended"
        here = " while it is here" if self.target.offline else ""
        observed = f"none: a directory, and whoever is root on this host can delete it{here}"
        yield Finding(what="locks", severity="low", observed=observed, hint=hint)

    def by_hand(self) -> ByHand:
        """See `TargetDriver`."""
        return ByHand(location=str(self._path.absolute()))

    def tidy(self, store: ObjectStore) -> int:
        """See `TargetDriver`."""
        return store.tidy() if isinstance(store, DiskStore) else 0

    def eraser(self, store: ObjectStore) -> Eraser:
        """See `TargetDriver`."""
        return DiskEraser(store.root) if isinstance(store, DiskStore) else StoreEraser(store)

    def first_use(self) -> Path:
        """See `TargetDriver`."""
        DiskStore(self._path, label=self.name).first_use()
        return self._path
