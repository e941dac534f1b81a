"""What is there and could not be read: counted in the evidence, and named to whoever may know the names of files."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dr.evidence.record import Omission
from dr.sources.driver import shown
from dr.sources.walk import literally

_FIRST = 3
#: How the problem is called in the list of names.
PROBLEM = "could not be read"
NOT_STORED = "are at the source and not in the point"


def omission_of(count: int, reader: str) -> Omission:
    """Return what the evidence says: no name. `reader` is who tried, as `USER` or `USER@HOST`."""
    who = f"{reader} may not read" if reader else "dr could not read"
    hint = f"{who} what is named: run dr as root, or give the right to read it; or exclude it in the plan"
    return Omission(what=_what(count), hint=hint)


def in_full(omission: Omission, names: Sequence[str]) -> tuple[str, str]:
    """Return what is said of an omission and its hint: with the first names, and the line that excludes them."""
    if not names or omission.what != _what(len(names)):
        return omission.what, omission.hint
    first = [shown(name) for name in names[:_FIRST]]
    more = len(names) - len(first)
    what = f"{omission.what}: {', '.join(first)}" + (f" and {more:,} more" if more else "")
    patterns = json.dumps([literally(name) for name in names[:_FIRST]], ensure_ascii=False)
    return what, f"{omission.hint}: `exclude: {shown(patterns)}`"


def _what(count: int) -> str:
    return f"{count} file(s) could not be read"
