"""The probe of a place that keeps plain objects: with the credentials that back up, overwrite and delete a canary.

The canary is `_probe/canary` beside the repositories. What counts is the fact afterwards, not the answer: whether its
bytes can still be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dr.errors import DamageError, DrError
from dr.evidence.posture import Attempt, Probe
from dr.targets.findings import refusal_of, unwritable
from dr.tools.store import ObjectStore

_FOLDER, _CANARY = "_probe", "canary"
_TEXT = b"A canary: tried by the backup credentials to see what they could destroy. Nothing needs it.\n"
_OTHER = _TEXT + b"Overwritten.\n"


def probe_plain(root: ObjectStore, now: datetime, *, hint: str) -> Probe:
    """Try it. Raises `DrError` where the canary cannot even be read; leaves nothing else behind."""
    place = root.child(_FOLDER)
    if not _reads(place, _TEXT) and (refused := refusal_of(lambda: place.put(_CANARY, _TEXT))):
        return Probe(tried=now, attempts=(unwritable(refused),))
    return Probe(tried=now, attempts=tuple(_attempts(place, hint)))


def _attempts(place: ObjectStore, hint: str) -> Iterator[Attempt]:
    refused = refusal_of(lambda: place.put(_CANARY, _OTHER))
    what = "overwrite an object"
    if _reads(place, _TEXT):
        yield Attempt(what=what, outcome="refused", severity="ok", observed=_how(refused))
    else:
        observed = "the old bytes are gone: who has these credentials replaces every object"
        yield Attempt(what=what, outcome="allowed", severity="high", observed=observed, hint=hint)
    refusal_of(lambda: place.put(_CANARY, _TEXT))
    refused, what = refusal_of(lambda: place.remove(_CANARY)), "delete an object"
    if place.exists(_CANARY):
        yield Attempt(what=what, outcome="refused", severity="ok", observed=_how(refused))
    else:
        observed = "the canary is gone: who has these credentials can delete every copy"
        yield Attempt(what=what, outcome="allowed", severity="high", observed=observed, hint=hint)


def _how(refused: DrError | None) -> str:
    return "refused" if refused else "the request was taken, and the object stayed"


def _reads(place: ObjectStore, text: bytes) -> bool:
    try:
        return place.get(_CANARY) == text
    except DamageError:
        return False
