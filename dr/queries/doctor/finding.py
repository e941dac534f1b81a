"""One thing that `dr doctor` looked at."""

from __future__ import annotations

from typing import Literal

from dr.late_dataclass import dataclass


@dataclass(frozen=True)
class Finding:
    """What was looked at: `ok`, `degraded` (works, should be mended) or `failed`."""

    what: str
    outcome: Literal["ok", "degraded", "failed"]
    observed: str
    hint: str = ""
