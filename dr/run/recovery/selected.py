"""The files that a person named: which entries of a manifest they are, and how restic is asked for them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

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


def tops_of(bases: Iterable[str], path: str) -> Iterator[bytes]:
    """Yield the names at and below which all lies that a path can match: its beginning that has no pattern in it."""
    parts = [part for part in os.fsencode(path).split(b"/") if part not in (b"", b".")]
    plain = next((number for number, part in enumerate(parts) if re.search(rb"[*?\[]", part)), len(parts))
    beginning = b"/".join(parts[:plain])
    if path.startswith("/"):
        yield b"/" + beginning
        return
    for base in bases:
        top = b"/" + os.fsencode(os.path.normpath(base)).strip(b"/")
        yield (top.rstrip(b"/") + b"/" + beginning).rstrip(b"/") or b"/"
        if below([base], path).fullmatch(top.lstrip(b"/")):  # a file that is declared by itself
            yield top


def outermost(tops: Iterable[bytes]) -> list[bytes]:
    """Return the names that do not lie below another of them."""
    kept: list[bytes] = []
    for top in sorted(set(tops)):
        if not kept or not (top + b"/").startswith(kept[-1].rstrip(b"/") + b"/"):
            kept.append(top)
    return kept
