"""What was moved to and from a target in a month: the sum of what its runs moved, and of what followed them."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime

from dr.evidence.posture import Requests
from dr.late_dataclass import dataclass


@dataclass(frozen=True, kw_only=True)
class MonthlyTraffic:
    """One system's traffic with one target in a calendar month (UTC, as "2026-11"), from `begun` until `seen`."""

    system: str
    target: str
    month: str
    begun: datetime
    seen: datetime
    runs: int = 0
    requests: Requests = field(default_factory=Requests)
    sent_bytes: int = 0
    received_bytes: int = 0
    restic_sent_bytes: int = 0
