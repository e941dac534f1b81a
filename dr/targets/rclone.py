"""The target kind `rclone`: any remote of the program rclone, for restic and for us through that program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dr.evidence.posture import Finding, Probe
from dr.targets.driver import ByHand, Opened, TargetDriver
from dr.targets.plain_probe import probe_plain
from dr.tools.rclone import Rclone, settings
from dr.tools.rclone_store import RcloneStore

if TYPE_CHECKING:
    from dr.plan.target_plain import RclonePlace


class RcloneDriver(TargetDriver):
    """A remote, and a path on it."""

    can_probe = True

    @property
    def _declared(self) -> RclonePlace:
        return cast("RclonePlace", self.target.declared)

    @property
    def _config(self) -> Path:
        carried = self._state.carried_keys(self.name) if self._state else None
        return carried if carried and carried.is_file() else self._declared.config

    def open(self, *, seen: bool = False) -> Opened:
        """See `TargetDriver`."""
        remote, config = self._declared.remote, self._config
        store = RcloneStore(Rclone(remote, config, self.meter))
        return Opened(store=store, location=f"rclone:{remote}", env=settings(config))

    def look(self, now: datetime, below: str) -> Iterator[Finding]:
        """See `TargetDriver`."""
        self.open().store.preflight()
        yield Finding(what="login", severity="ok", observed="the remote answers")
        hint = "keep another copy in a bucket with Object Lock, declared as `s3`, or on a disk that is taken offline"
        observed = "none that rclone could tell of: see the probe for what this remote's login may delete"
        yield Finding(what="locks", severity="low", observed=observed, hint=hint)

    def carry(self, env: Mapping[str, str], left_out: list[str]) -> dict[str, bytes]:
        """See `TargetDriver`. rclone's configuration goes along, with all remotes that it has."""
        try:
            return {f"keys/{self.name}": self._config.read_bytes()}
        except OSError as error:
            left_out.append(f"the rclone configuration of {self.name}: {error.strerror}")
            return {}

    def by_hand(self) -> ByHand:
        """See `TargetDriver`."""
        return ByHand(location=f"rclone:{self._declared.remote}", exports=(f"RCLONE_CONFIG=keys/{self.name}",))

    def probe(self, now: datetime) -> Probe | None:
        """See `TargetDriver`."""
        return probe_plain(self.open().store, now, hint="keep another copy that this login cannot reach")
