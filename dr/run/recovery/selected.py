"""The files that a person named: which entries of a manifest they are, and how restic is asked for them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from dr.run.recovery.checks.pattern import below, for_restic, literal


def pattern_of(bases: Iterable[str], paths: Sequence[str]) -> re.Pattern[bytes]:
    """Return what matches the paths named, and all below those that are folders; paths without a leading slash.

    Each is absolute, or relative to any of `bases`, and may have `*`, `?`, `[abc]` and `**`; one with a bracket is also
    the name that is spelled so.
    """
    places = list(bases)
    forms = [b".*" if _is_root(path) else b"(?:%s)(?:/.*)?" % _form(places, path) for path in _spelled(paths)]
    return re.compile(b"|".join(forms) or b"(?!)", re.DOTALL)


def exactly(path: bytes) -> str:
    """Return the pattern for one path alone, absolute, as a person would type it: signs stand between brackets."""
    return re.sub(r"[*?\[]", r"[\g<0>]", os.fsdecode(path))


def include_of(bases: Iterable[str], paths: Sequence[str], *, alone: set[bytes]) -> list[str]:
    """Return restic's patterns for the same; what they include may be more, never less."""
    places, forms = list(bases), list[str]()
    for path in _spelled(paths):
        if _is_root(path):
            forms.append("/*")
        elif _is_top(path):
            forms += [literal(os.path.normpath(base)) if base.strip("/") else "/*" for base in places]
        else:
            forms += for_restic(places, path, alone=alone)
    return forms


def _spelled(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths, and those with a bracket once more as the name itself: people type what they see."""
    for path in paths:
        yield path
        if "[" in path:
            yield exactly(os.fsencode(path))


def _is_root(path: str) -> bool:
    """Whether all of a source is meant."""
    return path.startswith("/") and not path.strip("/")


def _is_top(path: str) -> bool:
    """Whether what the plan declares is meant, as one thing: `.`."""
    return path in (".", "./")


def _form(bases: Sequence[str], path: str) -> bytes:
    if _is_top(path):
        return b"|".join(re.escape(os.fsencode(os.path.normpath(base)).strip(b"/")) or b".*" for base in bases)
    return below(bases, path).pattern


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
