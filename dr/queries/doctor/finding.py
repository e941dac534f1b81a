"""One thing that `dr doctor` looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was looked at: `ok`, `degraded` (works, should be mended) or `failed`."""

    what: str
    outcome: Literal["ok", "degraded", "failed"]
    observed: str
    hint: str = ""
