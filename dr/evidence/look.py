"""A look at a target: what of the points on record its own listing shows, and which repository is there.

The record says what was stored; only the target says what is there. So whoever lists a target's snapshots writes down
what he saw, and what was not seen counts for nothing until it is. What lay there of no record is put on record then.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime

from dr.late_dataclass import dataclass


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the listing of one target's snapshots showed of the points on record there, by run id.

    `lost` are whole points that the plan's retention keeps and that are not there whole, whether or not that was known
    before; `noticed` those of them that were still believed to be there. `gone` are incomplete ones, which count for
    nothing; `expired` those that retention has no use for; `found` were lost before and are there again. `whole`: every
    point on record was looked for, and those not named here were seen. `harmed` are points, that of the run itself
    among them, which rest on objects that are not whole there, as nobody knew; of the `doubtful` ones the index alone
    is damaged. `strangers` are points that another installation made. `repository` is restic's id of what is there,
    `config` the SHA-256 of its `config`.
    """

    target: str
    at: datetime
    lost: tuple[str, ...] = ()
    noticed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    harmed: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    repository: str = ""
    config: str = ""
    whole: bool = True


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """A snapshot of no run on record here: by its tags, the run that made it, and the installation and host of that.

    `run_id` is "" for what this program did not make.
    """

    snapshot: str
    run_id: str = ""
    installation: str = ""
    machine: str = ""


@dataclass(frozen=True, kw_only=True)
class LateCopy:
    """An earlier point that reached a target late, by copying, with the snapshots that it has there, by source."""

    run_id: str
    target: str
    snapshots: dict[str, str]
    manifests: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class LeftBehind:
    """What one run left behind on one target, found later: from then on it is on record, as a point that is not whole.

    `snapshots` maps source to data snapshot, `manifests` source to a manifest stored apart from it, `more` are further
    ones of the same run. `bytes` are those of the data snapshots; None where restic did not count them.
    """

    run_id: str
    target: str
    consistency_time: datetime
    finished: datetime
    snapshots: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, str] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)  # source -> kind
    bytes: int | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all of them."""
        return (*self.snapshots.values(), *self.manifests.values(), *self.more)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is on record of a system's repository on one target.

    `id` is restic's, `config` the SHA-256 of its `config`, by which it is known without a passphrase; both "" where
    nobody looked yet. `points` were stored there whole, the last of them `seen` then. `begun`: a person said that the
    target begins again.
    """

    id: str = ""
    config: str = ""
    points: int = 0
    seen: datetime | None = None
    begun: bool = False

    @property
    def held(self) -> bool:
        """Whether a repository must be there."""
        return bool(self.id or self.points)


#: Nothing is on record.
NOTHING = Known()
