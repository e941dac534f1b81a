"""How large a repository is: what its last listing showed, and how it grows by those before. Growth is an ESTIMATE."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from dr.late_dataclass import dataclass


@dataclass(frozen=True, order=True)
class Observation:
    """How many bytes a repository had when it was listed."""

    at: datetime
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Bytes a month, and the range in which that lies nine times out of ten; by so many observations since a time."""

    bytes_per_month: float
    low: float
    high: float
    observations: int
    since: datetime


def together(found: Iterable[Growth | None]) -> Growth | None:
    """Return the growth of several repositories as that of one; None where no growth is known."""
    known = [each for each in found if each]
    if not known:
        return None
    return Growth(
        bytes_per_month=sum(each.bytes_per_month for each in known),
        low=sum(each.low for each in known),
        high=sum(each.high for each in known),
        observations=sum(each.observations for each in known),
        since=min(each.since for each in known),
    )


@dataclass(frozen=True, kw_only=True)
class KnownSize:
    """What is kept of a repository's size: its last listing, and its growth as it was `reckoned` then."""

    seen: Observation
    growth: Growth | None = None
    reckoned: datetime | None = None

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self), default=datetime.isoformat)

    @classmethod
    def of(cls, text: str) -> KnownSize | None:
        """Return what was kept; None of what cannot be read."""
        try:
            kept = json.loads(text)
            grows, reckoned = kept["growth"], kept["reckoned"]
            return cls(
                seen=Observation(datetime.fromisoformat(kept["seen"]["at"]), int(kept["seen"]["bytes"])),
                growth=Growth(**grows | {"since": datetime.fromisoformat(grows["since"])}) if grows else None,
                reckoned=datetime.fromisoformat(reckoned) if reckoned else None,
            )
        except (ValueError, TypeError, KeyError):
            return None
