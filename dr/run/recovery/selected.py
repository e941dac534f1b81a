"""The files that a person named: which entries of a manifest they are, and how restic is asked for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dr.run.recovery.checks.pattern import below, for_restic


def pattern_of(bases: Iterable[str], paths: Sequence[str]) -> re.Pattern[bytes]:
    """Return what matches the paths named, and all below those that are folders; paths without a leading slash.

    Each is absolute, or relative to any of `bases`, and may have `*`, `?`, `[abc]` and `**`.
    """
    places = list(bases)
    forms = [b"(?:%s)(?:/.*)?" % below(places, path).pattern for path in paths]
    return re.compile(b"|".join(forms) or b"(?!)", re.DOTALL)


def include_of(bases: Iterable[str], paths: Sequence[str], *, alone: set[bytes]) -> list[str]:
    """Return restic's patterns for the same; what they include may be more, never less."""
    places = list(bases)
    return [form for path in paths for form in for_restic(places, path, alone=alone)]
